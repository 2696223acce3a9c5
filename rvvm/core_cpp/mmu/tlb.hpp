// Translation caches: one context for each set of state that changes a translation, so that a trap,
// a return, a SUM toggle or a process switch picks another context and flushes nothing.
#pragma once
#include <array>
#include <deque>

#include "mmu/data_table.hpp"
#include "mmu/global_cache.hpp"

namespace rvvm {

// What a hart's translation caches have done since it was made.
struct TlbStats {
  u64 fills = 0, two_stage_fills = 0;   // entries made, after a walk of one stage and of two
  u64 walks = 0;                        // translations that no entry served
  u64 evictions = 0;                    // entries of other pages that a fill has replaced
  u64 slow_loads = 0, slow_stores = 0;  // that found no entry to go by
  // Flushes, by what asked for them: fences and PMP changes executed, contexts given to another
  // key, pages that stores must no longer reach because they hold code or a reservation.
  u64 fence_all = 0, fence_asid = 0, fence_address = 0, hfence_vvma = 0, hfence_gvma = 0;
  u64 pmp = 0, context_reuse = 0, code = 0;
};

// Where fetches look. A tag is a page address and, in the bits below, the number of times that the
// table has been cleared; so clearing costs nothing, but for each 4,095th time.
class FetchTable {
 public:
  // The physical address of the page, or TlbEntry::never.
  u64 find(u64 address) const {
    const Entry& e = entries_[address / page_size % size];
    return e.tag == tag_of(address) ? e.physical : TlbEntry::never;
  }
  void put(u64 address, u64 physical, bool global) {
    entries_[address / page_size % size] = {tag_of(address), physical & ~page_mask, global};
  }
  // Whether it is known, and in all address spaces.
  bool global(u64 address) const {
    const Entry& e = entries_[address / page_size % size];
    return e.tag == tag_of(address) && e.global;
  }
  void forget(u64 address) {
    if (find(address) != TlbEntry::never) entries_[address / page_size % size] = {};
  }
  void clear() {
    if (++age_ < page_mask) return;
    entries_.fill({});
    age_ = 0;
  }

 private:
  struct Entry {
    u64 tag = TlbEntry::never;
    u64 physical = 0;
    bool global = false;
  };
  u64 tag_of(u64 address) const { return (address & ~page_mask) | age_; }

  static constexpr std::size_t size = 1024;
  std::array<Entry, size> entries_;
  u64 age_ = 0;
};

struct Context {
  explicit Context(TablePool& pool) : data{pool} {}

  ContextKey key;
  Regime regime;       // the key's
  u64 generation = 0;  // of the code reached through it; never used twice on a hart
  u64 mapping = 0;     // the same, of where addresses of code lead, whatever is there
  u8 index = 0;        // its number
  // Its code is mapped for all address spaces, as far as the first fetch tells.
  enum class Code : u8 { unknown, own, shared } code = Code::unknown;
  u64 used = 0;
  u64 roots = 0;  // what Mmu::refresh has numbered the rest of the key when it was last selected
  u32 space = 0, guest_space = 0;             // in the TableCache, of both stages; 0 is none
  u32 world = 0;                              // in the GlobalCache
  u64 large_first = ~u64{0}, large_last = 0;  // addresses under leaves larger than a page
  u64 largest = 0;                            // of those, in bytes; all ones where nothing maps
  GrowingTable data;
  FetchTable fetch;

  void fill_data(u64 address, u64 span, const TlbEntry& load, const TlbEntry& store,
                 u64& evictions) {
    note_span(address, span);
    data.make_room(address, evictions);
    data.table().load(address) = load;
    data.table().store(address) = store;
  }
  void fill_fetch(u64 address, const Translation& t);
  void clear();
  // Whether code was reached through this page: the ways to it are void then.
  bool clear_page(u64 address);

 private:
  void note_span(u64 address, u64 span) {
    if (span > page_size) note_large(address, span);
  }
  void note_large(u64 address, u64 span);
  std::array<u64, 64> code_pages_{};  // a bit for each page, by its number modulo 4096
};

// Pages that code was fetched from: maybe more than were noted, never fewer.
class CodePages {
 public:
  void note(u64 address, u64 span) {
    if (span > page_size) {  // all that the leaf maps
      const u64 first = span == ~u64{0} ? 0 : address & ~(span - 1);
      large_first_ = std::min(large_first_, first);
      large_last_ = std::max(large_last_, first + (span - 1));
      return;
    }
    word(address) |= bit(address);
  }
  bool hold(u64 address) const {
    const bool large = address >= large_first_ && address <= large_last_;
    return large || (const_cast<CodePages*>(this)->word(address) & bit(address));
  }

 private:
  u64& word(u64 address) { return pages_[address / page_size / 64 % pages_.size()]; }
  static u64 bit(u64 address) { return u64{1} << (address / page_size % 64); }
  std::array<u64, 64> pages_{};  // a bit for each page, by its number modulo 4096
  u64 large_first_ = ~u64{0}, large_last_ = 0;
};

// What a fence names; absent operands mean all.
struct FenceScope {
  bool virt = false;
  bool hypervisor = false;      // HFENCE
  bool guest_physical = false;  // its GVMA
  bool any_address = true, any_asid = true, any_vmid = true;
  u64 address = 0, asid = 0, vmid = 0;
};

class Tlb {
 public:
  static constexpr std::size_t contexts = 24;
  Tlb();
  // The oldest one is reused when none has the key.
  Context& select(const ContextKey& key, const ExtSet& extensions);
  void use(Context& context) { context.used = ++clock_; }
  void fence(const FenceScope& scope);
  void clear();
  void renew_generations();  // all cached ways to code are void
  // The world of a context, whose global mappings it shares, as a number; and of their changes.
  u32 world(Context& context) { return context.world ? context.world : world_of(context); }
  u64 globals_mapping() const { return globals_mapping_; }
  void note_shared_code(u64 address, u64 span) { shared_code_.note(address, span); }
  // A context has an entry for stores to a page of the host's; none has any more.
  void note_writable(const Context& context, const u8* host_page) {
    writers_[writers_of(host_page)] |= u32{1} << context.index;
  }
  void forget_writable(const u8* host_page);

  // What walks in a context have found, and may begin with.
  TableNotes notes(Context& context) {
    return {&tables_, context.space ? context.space : space_of(context)};
  }
  TableNotes guest_notes(Context& context) {
    return {&tables_, context.guest_space ? context.guest_space : guest_space_of(context)};
  }
  Translation find_global(Context& context, u64 address, Access access) {
    return globals_.find(world(context), address, access);
  }
  void note_global(Context& context, u64 address, Access access, const Translation& t) {
    globals_.note(world(context), address, access, t);
  }

  TlbStats stats;

 private:
  void count(const FenceScope& scope);
  bool fence(Context& context, const FenceScope& scope);
  u32 space_of(Context& context);
  u32 guest_space_of(Context& context);
  u32 world_of(Context& context);
  u32 next_space();

  TablePool pool_;
  std::deque<Context> contexts_;
  std::array<Context*, 16> recent_;  // by the key's hash: asked before all are
  TableCache tables_;
  GlobalCache globals_;
  CodePages shared_code_;
  u64 clock_ = 0, generation_ = 0, globals_mapping_ = 0;
  u32 spaces_ = 0, worlds_ = 0;  // the last ones given
  // A bit for each context that may have an entry for stores to one of these pages of the host's.
  std::array<u32, 8192> writers_{};
  static_assert(contexts <= 32);
  std::size_t writers_of(const u8* host_page) const {
    return reinterpret_cast<u64>(host_page) / page_size % writers_.size();
  }
};

}  // namespace rvvm
