#include "mmu/data_table.hpp"

#include <algorithm>

namespace rvvm {

TablePool::Memory TablePool::take(std::size_t count) {
  // No count is below the smallest, which compilers cannot know.
  auto& free = free_[std::min<std::size_t>(size_of(count), sizes - 1)];
  if (!free.empty()) {
    Memory memory = std::move(free.back());
    free.pop_back();
    return memory;
  }
  if (count > smallest) {
    release_others(count);
    if (allocated_ + count > most) return nullptr;
    allocated_ += count;
  }
  return Memory{new TlbEntry[2 * count]};
}

void TablePool::give(Memory memory, std::size_t count) {
  if (memory) free_[size_of(count)].push_back(std::move(memory));
}

// Tables of other sizes that nobody uses make room.
void TablePool::release_others(std::size_t wanted) {
  for (std::size_t size = sizes - 1; size > 0; --size)
    while (allocated_ + wanted > most && !free_[size].empty()) {
      free_[size].pop_back();
      allocated_ -= smallest << 2 * size;
    }
}

GrowingTable::GrowingTable(TablePool& pool) : pool_{pool} {
  resize(TablePool::smallest, pool_.take(TablePool::smallest));
}

void GrowingTable::resize(std::size_t count, TablePool::Memory memory) {
  memory_ = std::move(memory);
  table_ = {(count - 1) * sizeof(TlbEntry), memory_.get(), memory_.get() + count};
  part_shift_ = std::countr_zero(part() * sizeof(TlbEntry));
  filled_ = 0;
  evictions_ = 0;
}

void GrowingTable::note_eviction() {
  if (++evictions_ > table_.count() && table_.count() < TablePool::largest) grow();
}

// Entries move, none is lost: two of one place in the large table had one in the small table.
void GrowingTable::grow() {
  const std::size_t count = table_.count() * TablePool::factor;
  TablePool::Memory larger = pool_.take(count);
  if (!larger) return void(evictions_ = 0);
  GrowingTable old{std::move(*this)};
  resize(count, std::move(larger));
  old.each([this](TlbEntry& load, TlbEntry& store) {
    const u64 page = load.page & store.page, address = page * page_size;
    if (page == TlbEntry::never) return;
    table_.load(address) = load;
    table_.store(address) = store;
    filled_ |= bit(address);
    load = store = {};
  });
  pool_.give(std::move(old.memory_), old.table_.count());
}

void GrowingTable::forget(u64 address) {
  if (!(filled_ & bit(address)) || table_.page(address) != TlbEntry::number(address)) return;
  table_.load(address) = table_.store(address) = {};
}

void GrowingTable::forget_around(u64 address, u64 bytes) {
  const u64 page = TlbEntry::number(address), others = ~TlbEntry::number(bytes - 1);
  each([&](TlbEntry& load, TlbEntry& store) {
    if (!(((load.page & store.page) ^ page) & others)) load = store = {};
  });
}

void GrowingTable::clear() {
  each([](TlbEntry& load, TlbEntry& store) { load = store = {}; });
  filled_ = 0;
}

void GrowingTable::shrink() {
  clear();
  evictions_ = 0;
  if (table_.count() == TablePool::smallest) return;
  pool_.give(std::move(memory_), table_.count());
  resize(TablePool::smallest, pool_.take(TablePool::smallest));
}

}  // namespace rvvm
