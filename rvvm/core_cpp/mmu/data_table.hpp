// Tables of data translations: what loads and stores look in. They start small and grow where they
// are too small, so that a new context costs little and a large working set is held.
#pragma once
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "memory/address.hpp"

namespace rvvm {

// Where accesses to a page go.
struct TlbEntry {
  static constexpr u64 never = ~u64{0};  // the number of no page
  u64 page = never;                      // its number
  u64 host = 0;                          // host address minus guest address

  static u64 number(u64 address) { return address / page_size; }
};

// One table for loads and one for stores, so that a page takes little of the host's caches.
// Translated code reads these fields: the entry for an address is at (address >> index_shift &
// index_mask), in bytes.
struct DataTable {
  static constexpr unsigned index_shift = 12 - 4;  // page number times sizeof(TlbEntry)
  static_assert(sizeof(TlbEntry) == 1 << 4);

  u64 index_mask = 0;
  TlbEntry *loads = nullptr, *stores = nullptr;

  TlbEntry& load(u64 address) const { return at(loads, address); }
  TlbEntry& store(u64 address) const { return at(stores, address); }
  // The entry that allows an access there, or nullptr.
  const TlbEntry* find(u64 address, bool store_too) const {
    const TlbEntry& e = store_too ? store(address) : load(address);
    return e.page == TlbEntry::number(address) ? &e : nullptr;
  }
  // The page that one of the address's entries has; what has none is all ones.
  u64 page(u64 address) const { return load(address).page & store(address).page; }
  std::size_t count() const { return index_mask / sizeof(TlbEntry) + 1; }

 private:
  TlbEntry& at(TlbEntry* entries, u64 address) const {
    return *reinterpret_cast<TlbEntry*>(reinterpret_cast<u8*>(entries) +
                                        (address >> index_shift & index_mask));
  }
};

// The memory of a hart's tables: sizes by fours, those given back kept for the next who asks.
class TablePool {
 public:
  using Memory = std::unique_ptr<TlbEntry[]>;  // for loads, and behind them for stores
  static constexpr std::size_t smallest = 256, factor = 4, sizes = 5,
                               largest = smallest << 2 * (sizes - 1);
  static constexpr std::size_t most = 4 * largest;  // pages in all: 8 MB, but for the smallest
  static_assert(factor == 1 << 2 && largest == 65536);

  Memory take(std::size_t count);  // for so many pages; nullptr when that would be too many
  void give(Memory memory, std::size_t count);  // empty again

 private:
  static unsigned size_of(std::size_t count) { return std::countr_zero(count / smallest) / 2; }
  void release_others(std::size_t wanted);

  std::array<std::vector<Memory>, sizes> free_;
  std::size_t allocated_ = 0;
};

// The table of one context.
class GrowingTable {
 public:
  explicit GrowingTable(TablePool& pool);

  const DataTable& table() const { return table_; }
  // Makes room for a page; counted when another page has to go.
  void make_room(u64 address, u64& evictions) {
    const u64 there = table_.page(address);
    if (there != TlbEntry::never && there != TlbEntry::number(address)) [[unlikely]] {
      ++evictions;
      note_eviction();
    }
    filled_ |= bit(address);
  }
  void forget(u64 address);  // drops the page's entries
  // All those of pages within a number of bytes, a power of two, that the address lies in.
  void forget_around(u64 address, u64 bytes);
  void clear();   // empties it
  void shrink();  // and gives up what it grew
  // Calls use(load, store) for each place.
  template <class Use> void each(Use use) const {
    for (u64 parts = filled_; parts; parts &= parts - 1) {
      const std::size_t first = std::countr_zero(parts) * part();
      for (std::size_t k = first; k < first + part(); ++k) use(table_.loads[k], table_.stores[k]);
    }
  }

 private:
  std::size_t part() const { return table_.count() / 64; }
  // The part an address lies in, by its bit in `filled_`.
  u64 bit(u64 address) const {
    return u64{1} << ((address >> DataTable::index_shift & table_.index_mask) >> part_shift_);
  }
  void resize(std::size_t count, TablePool::Memory memory);
  void note_eviction();
  void grow();

  TablePool& pool_;
  TablePool::Memory memory_;
  DataTable table_;
  unsigned part_shift_ = 0;  // from an offset in the table to the number of its part
  u64 filled_ = 0;           // a bit for each part that may hold entries: little is cleared where
                             // little was used
  u64 evictions_ = 0;        // since the size changed
};

}  // namespace rvvm
