// A hart's way to memory: cached translation in a few instructions, everything else on slow paths.
#pragma once
#include <mutex>
#include <optional>

#include "memory/bus.hpp"
#include "memory/shared.hpp"
#include "mmu/tlb.hpp"
#include "mmu/translate.hpp"

namespace rvvm {

// A cached translation that a walk does not confirm.
struct StaleTranslation {
  u64 address;
  Access access;
  Hpa cached;
  std::optional<Hpa> walked;  // none when the walk traps
  const char* why;
};

// Told when a page of RAM first holds translated code, and of stores to pages that are flagged.
struct StoreListener {
  virtual void code_translated(Hpa address) = 0;
  virtual void code_written(Hpa address, u64 size) = 0;
  // A store to a page with reservations, with the lock, which is held around the store, too.
  virtual void reserved_written(const Hart* by, Hpa address, u64 size) = 0;
  std::mutex reservations;
  // LR on a hart among others on threads whose SC has to know of all stores; what it reads. And
  // whether there was none, with the lock.
  virtual u64 reserve(const Hart& by, Hpa address, u8 width) = 0;
  virtual bool still_reserved(const Hart& by) = 0;
  virtual void translation_differs(const StaleTranslation& found) = 0;
  virtual void stores_come(u8* ram_part) = 0;  // soon, to all appearances: see Ram::reached

 protected:
  ~StoreListener() = default;
};

// One explicit access as an observer sees it (commit log, watchpoints).
struct AccessRecord {
  u64 address, value;
  u8 width;
  bool store;
};

class Mmu final : TableStores {
 public:
  Mmu(Hart& hart, Bus& bus, StoreListener& listener, DataTable& table)
      : hart{hart}, bus{bus}, listener{listener}, table{table} {
    refresh();
  }

  // Through a cached translation: false when there is none, and nothing has happened. T is
  // unsigned.
  template <class T> bool try_load(u64 address, T& value) const {
    const TlbEntry& e = table.load(address);
    if (e.page != last_page(address, sizeof(T))) [[unlikely]]
      return false;
    value = shared::load<T>(reinterpret_cast<const u8*>(e.host + address));
    return true;
  }
  bool try_zero_block(u64 address, u64 size) {
    const u64 block = address & ~(size - 1);
    const TlbEntry& e = table.store(block);
    if (e.page != TlbEntry::number(block)) return false;
    shared::zero(reinterpret_cast<u8*>(e.host + block), size);
    return true;
  }
  template <class T> bool try_store(u64 address, T value) {
    const TlbEntry& e = table.store(address);
    if (e.page != last_page(address, sizeof(T))) [[unlikely]]
      return false;
    shared::store(reinterpret_cast<u8*>(e.host + address), value);
    return true;
  }

  // Host memory to load from and store to, nullptr when it is not at hand.
  template <unsigned size> u8* try_operand(u64 address) const {
    const TlbEntry& e = table.store(address);
    if (e.page != TlbEntry::number(address) || address % size) [[unlikely]]
      return nullptr;
    return reinterpret_cast<u8*>(e.host + address);
  }

  // In any way; false when the access traps, and then `trap` says how. A load leaves its value in
  // `loaded`, so that no caller's local has an address.
  bool load_slow(u64 address, unsigned size);
  bool store_slow(u64 address, unsigned size, u64 value);

  // As another mode than the hart's: HLV, HLVX, HSV.
  bool load_as(Mode mode, bool needs_execute, u64 address, unsigned size);
  bool store_as(Mode mode, u64 address, unsigned size, u64 value);

  // For LR, SC, AMOs and cache-block operations: host memory of a naturally aligned operand, or
  // nullptr and `trap`.
  u8* atomic_operand(u64 address, unsigned size, Access access);
  // After the operand has been read, and after it has been written.
  void atomic_read(u64 address, unsigned size, u64 value) {
    if (record) record->push_back({address, value, static_cast<u8>(size), false});
  }
  void atomic_written(u64 address, unsigned size, u64 value) {
    written(operand_, size, value);
    if (record) record->push_back({address, value, static_cast<u8>(size), true});
  }
  void pair_written(u64 address, u128 value);
  // A store to RAM, together with the reservations that it breaks. `always`: SC wants to know, on
  // any page. Inline, so that no handler's local has an address.
  class StoreLock {
   public:
    [[gnu::always_inline]] StoreLock(Mmu& mmu, Hpa at, bool always = false) : mmu_{mmu}, at_{at} {
      flagged_ = mmu.bus.ram(at)->flags(at) & page_reserved;
      if (flagged_ || always) mmu.listener.reservations.lock();
      locked_ = flagged_ || always;
    }
    [[gnu::always_inline]] ~StoreLock() { unlock(); }
    StoreLock(const StoreLock&) = delete;
    // The store has been made; by an explicit access of this hart, unless it is nobody's.
    [[gnu::always_inline]] void stored(unsigned size) { stored(&mmu_.hart, size); }
    [[gnu::always_inline]] void stored(const Hart* by, unsigned size) {
      if (flagged_) mmu_.listener.reserved_written(by, at_, size);
      unlock();
    }

   private:
    [[gnu::always_inline]] void unlock() {
      if (locked_) mmu_.listener.reservations.unlock();
      locked_ = false;
    }
    Mmu& mmu_;
    Hpa at_;
    bool flagged_, locked_;
  };

  // Physical address of the last operand: what LR and SC go by.
  Hpa operand_address() const { return operand_; }
  // Cache-block management is the check alone: a store's permission or a load's will do. `address`
  // may be anywhere in the block, and is what a fault reports.
  bool check_block(u64 address, u64 size);
  bool zero_block(u64 address, u64 size);

  // Puts an entry for a load or a store into `table`, and returns it when it allows the access;
  // nullptr when that would trap or must be seen (a device, a page with flags, an observer).
  // Nothing happens that the access itself would not do: it comes next. A misaligned AMO must not
  // ask, for it does nothing at all.
  const TlbEntry* make_entry(u64 address, Access access) noexcept;

  // Physical address of code, cached; none when the fetch traps.
  std::optional<Hpa> fetch(u64 address);

  void fence(const FenceScope& scope);
  void refresh();         // after anything in the context key may have changed
  void refresh_state() {  // after no more than its state() has
    const u32 fetch = ContextKey::fetch_state(hart.mode);
    const u32 state = ContextKey::state(hart, data_mode(hart));
    exec = context(fetch);
    data = state == fetch ? exec : context(state);
    show_table();
  }
  void refresh_pmp();
  void clear() { tlb.clear(); }

  Hart& hart;
  Bus& bus;
  StoreListener& listener;
  Pmp pmp;
  Tlb tlb;
  DataTable& table;         // of `data`, where translated code looks
  Context* data = nullptr;  // of loads and stores
  Context* exec = nullptr;  // of fetches
  Trap trap;
  u64 loaded = 0;
  bool uncached = false;  // an observer wants to see every access
  bool checked = false;   // what is cached is compared with a walk, at each access
  std::vector<AccessRecord>* record = nullptr;

 private:
  // The page of an access's last byte. The entry for an address never holds the page behind it, so
  // that one comparison finds what crosses a page.
  static u64 last_page(u64 address, u64 size) { return TlbEntry::number(address + size - 1); }
  // As whom an access is made: HLV and HSV look from another mode, whose context is not at hand.
  struct As {
    const Regime& regime;
    Context* context = nullptr;
    bool needs_execute = false;
  };
  As as_data() const { return {data->regime, data, false}; }

  Context* context(u32 state) {
    Context* c = known_[state];
    if (!c || c->roots != roots_ || c->key.state() != state) [[unlikely]]
      c = find_context(state);
    tlb.use(*c);
    return c;
  }
  Context* find_context(u32 state);
  // Where all is checked nothing is found, so that every access comes to resolve().
  void show_table() { table = checked ? nothing : data->data.table(); }
  void check(u64 address, Access access, Hpa cached, const Translation& walked);
  bool check_data(u64 address, Access access, const Translation& walked);  // true when cached
  Translation look_up(u64 address, unsigned size, Access access, const As& as);
  Translation walk_for(u64 address, unsigned size, Access access, const As& as);
  void count_fill(const Context& context);
  bool resolve(u64 address, unsigned size, Access access, const As& as, Hpa& physical);
  bool load_for(const As& as, u64 address, unsigned size);
  bool store_for(const As& as, u64 address, unsigned size, u64 value);
  bool too_early(Hpa at, unsigned size);
  bool load_physical(Hpa at, unsigned size);
  bool store_physical(Hpa at, unsigned size, u64 value);
  bool access_fault(u64 address, Access access, const As& as);
  bool block_fault(u64 address, u64 block);
  void fill(u64 address, Access access, const Translation& t);
  bool swap_entry(u8* host, Hpa at, u64 old, u64 wanted) override;
  void written(Hpa at, unsigned size, u64 value);

  template <class Part>
  bool split(u64 address, unsigned size, Access access, const As& as, Part part);

  static const DataTable nothing;
  Hpa operand_;
  bool code_dropped_ = false;  // by a store to a page with code, since it was last asked
  // Contexts by their key's state(). It is the one sought if `roots` is the number of the present
  // rest of the key: no other context ever had that number and this state.
  std::array<Context*, ContextKey::states> known_{};
  u64 roots_ = 0;
};

}  // namespace rvvm
