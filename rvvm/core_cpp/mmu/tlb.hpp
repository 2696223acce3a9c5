// Translation caches: one context for each set of state that changes a translation, so that a trap,
// a return, a SUM toggle or a process switch picks another context and flushes nothing.
#pragma once
#include <array>
#include <deque>

#include "hart/hart.hpp"
#include "mmu/data_table.hpp"

namespace rvvm {

// Everything that decides what a virtual address means.
struct ContextKey {
  u64 root = 0;        // satp, or vsatp when virtual; 0 in M-mode
  u64 guest_root = 0;  // hgatp when virtual
  u32 bits = 0;        // its state(), and ADUE and PBMTE of both levels
  friend bool operator==(const ContextKey&, const ContextKey&) = default;

  // The part that traps, returns and status writes change: the mode, SUM and MXR of both levels.
  // The last two are nothing to fetches, whose state is the mode alone.
  static constexpr u32 states = 1 << 7;
  static u32 fetch_state(Mode mode) { return mode.virt | static_cast<u32>(mode.privilege) << 1; }
  static u32 state(const Hart& h, Mode mode) {
    const auto access = [](u64 status) { return static_cast<u32>(status >> 18 & 3); };
    u32 bits = fetch_state(mode);
    if (mode.privilege == Privilege::M) return bits;
    bits |= access(h.csr.mstatus) << 3;
    return mode.virt ? bits | access(h.csr.vsstatus) << 5 : bits;
  }
  static ContextKey of(const Hart& h, u32 state);
  bool virt() const { return bits & 1; }
  u64 asid() const;
  u64 vmid() const;
  std::size_t hash() const { return (root ^ root >> 44 ^ guest_root >> 44) + bits * 5 / 2; }
};

struct FetchEntry {
  u64 page = TlbEntry::never;
  u64 physical = 0;
};

// Last-level tables that walks have found: a walk that finds its table here reads one entry.
class TableCache {
 public:
  void clear() { entries_.fill({}); }
  // The level-0 table for an address, as that stage names it; 0 when unknown.
  u64 find(u64 address) const {
    const Entry& e = entries_[address / reach % entries_.size()];
    return e.region == address / reach ? e.table : 0;
  }
  void forget(u64 address) { entries_[address / reach % entries_.size()] = {}; }
  void note(u64 address, u64 table) {
    entries_[address / reach % entries_.size()] = {address / reach, table};
  }

 private:
  static constexpr u64 reach = 512 * page_size;
  struct Entry {
    u64 region = ~u64{0};
    u64 table = 0;
  };
  std::array<Entry, 128> entries_;
};

// What a hart's translation caches have done since it was made.
struct TlbStats {
  u64 fills = 0, two_stage_fills = 0;  // entries made, after a walk of one stage and of two
  u64 walks = 0;                       // translations that no entry served
  u64 evictions = 0;                   // entries of other pages that a fill has replaced
  // Flushes, by what asked for them: fences and PMP changes executed, contexts given to another
  // key, pages that stores must no longer reach because they hold code or a reservation.
  u64 fence_all = 0, fence_asid = 0, fence_address = 0, hfence_vvma = 0, hfence_gvma = 0;
  u64 pmp = 0, context_reuse = 0, code = 0;
};

struct Context {
  static constexpr std::size_t fetch_entries = 1024;
  explicit Context(TablePool& pool) : data{pool} {}

  ContextKey key;
  u64 generation = 0;  // of the code reached through it; never used twice on a hart
  u64 used = 0;
  u64 large_first = ~u64{0}, large_last = 0;  // addresses under leaves larger than a page
  TableCache tables, guest_tables;            // of the first stage, and of the G-stage
  GrowingTable data;
  std::array<FetchEntry, fetch_entries> fetch;

  FetchEntry& fetch_at(u64 address) { return fetch[address / page_size % fetch_entries]; }
  void fill_fetch(u64 address, u64 physical);
  void note_span(u64 address, u64 span);
  void clear();
  // Whether code was reached through this page: the ways to it are void then.
  bool clear_page(u64 address);

 private:
  std::array<u64, 64> code_pages_{};  // a bit for each page, by its number modulo 4096
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
  Context& select(const ContextKey& key);  // the oldest one is reused when none has the key
  void use(Context& context) { context.used = ++clock_; }
  void fence(const FenceScope& scope);
  void clear();
  void renew_generations();  // all cached ways to code are void
  void forget_writable(const u8* host_page);

  TlbStats stats;

 private:
  void count(const FenceScope& scope);

  TablePool pool_;
  std::deque<Context> contexts_;
  std::array<Context*, 16> recent_;  // by the key's hash: asked before all are
  u64 clock_ = 0, generation_ = 0;
};

}  // namespace rvvm
