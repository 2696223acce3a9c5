// Tables of data translations: what loads and stores look in. They start small and grow where they
// are too small, so that a new context costs little and a large working set is held.
#pragma once
#include <array>
#include <bit>
#include <memory>
#include <vector>

#include "memory/address.hpp"

namespace rvvm {

struct alignas(32) TlbEntry {
  static constexpr u64 never = ~u64{0};  // the number of no page
  u64 read = never, write = never;       // the page's number when that access is allowed
  u64 host = 0;                          // host address minus guest address
  u64 span = page_size;                  // bytes that the leaf maps; all ones where nothing does

  static u64 number(u64 address) { return address / page_size; }
  u64 page() const { return read & write; }
  u64 address() const { return page() * page_size; }
  // Whether the leaf that this came from maps the address too.
  bool maps(u64 other) const { return !((page() ^ number(other)) & ~number(span - 1)); }
};

// Translated code reads these two fields: the entry for an address is at
// entries + (address >> index_shift & index_mask), in bytes.
struct DataTable {
  static constexpr unsigned index_shift = 12 - 5;  // page number times sizeof(TlbEntry)
  static_assert(sizeof(TlbEntry) == 1 << 5);

  u64 index_mask = 0;
  TlbEntry* entries = nullptr;

  TlbEntry& at(u64 address) const {
    return *reinterpret_cast<TlbEntry*>(reinterpret_cast<u8*>(entries) +
                                        (address >> index_shift & index_mask));
  }
  std::size_t count() const { return index_mask / sizeof(TlbEntry) + 1; }
};

// The memory of a hart's tables: sizes by fours, those given back kept for the next who asks.
class TablePool {
 public:
  using Memory = std::unique_ptr<TlbEntry[]>;
  static constexpr std::size_t smallest = 256, factor = 4, sizes = 5,
                               largest = smallest << 2 * (sizes - 1);
  static constexpr std::size_t most = 4 * largest;  // entries in all: 8 MB, but for the smallest
  static_assert(factor == 1 << 2 && largest == 65536);

  Memory take(std::size_t count);  // empty entries; nullptr when that would be too many
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
  TlbEntry& at(u64 address) const { return table_.at(address); }
  // Where an entry goes; counted when another page's has to go.
  TlbEntry& slot(u64 address, u64& evictions) {
    const u64 there = at(address).page();
    if (there != TlbEntry::never && there != TlbEntry::number(address)) [[unlikely]] {
      ++evictions;
      note_eviction();
    }
    filled_ |= bit(address);
    return at(address);
  }
  void forget(u64 address);  // drops the page's entry
  void clear();              // empties it
  void shrink();             // and gives up what it grew
  template <class Use> void each(Use use) const {
    for (u64 parts = filled_; parts; parts &= parts - 1) {
      TlbEntry* entry = table_.entries + std::countr_zero(parts) * part();
      for (std::size_t k = 0; k < part(); ++k) use(entry[k]);
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
