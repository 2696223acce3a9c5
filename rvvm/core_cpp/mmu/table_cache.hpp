// Page tables that walks have found: the next walk near there begins with its last table and reads
// one entry.
#pragma once
#include <array>

#include "memory/address.hpp"

namespace rvvm {

// Of all address spaces of a hart. A space is a number; one that is given up is never used again.
class TableCache {
 public:
  struct Found {
    u64 table = 0;  // as the stage names it; 0 when unknown
    unsigned level = 0;
  };
  Found find(u32 space, u64 address) const {
    const Entry& e = at(space, address);
    if (e.tag != tag_of(space, address)) return {};
    return {e.table & ~page_mask, static_cast<unsigned>(e.table & page_mask)};
  }
  void note(u32 space, u64 address, u64 table, unsigned level) {
    at(space, address) = {tag_of(space, address), table | level};
  }
  void forget(u32 space, u64 address) {
    Entry& e = at(space, address);
    if (e.tag == tag_of(space, address)) e = {};
  }
  void clear() { entries_.fill({}); }

  static constexpr u32 most_spaces = 1 << 24;  // so many fit beside a region

 private:
  static constexpr unsigned region_bits = 40;  // 2 MB regions of 59 bits of guest physical address
  struct Entry {
    u64 tag = 0;  // no space is 0
    u64 table = 0;
  };
  static u64 region(u64 address) { return address >> 21 & ((u64{1} << region_bits) - 1); }
  static u64 tag_of(u32 space, u64 address) {
    return region(address) | static_cast<u64>(space) << region_bits;
  }
  static std::size_t index(u32 space, u64 address) {
    const u64 near = address >> 21;
    return (near ^ near >> 10 ^ near >> 20 ^ space * 0x4f) % size;
  }
  Entry& at(u32 space, u64 address) { return entries_[index(space, address)]; }
  const Entry& at(u32 space, u64 address) const { return entries_[index(space, address)]; }

  static constexpr std::size_t size = 1024;
  std::array<Entry, size> entries_;
};

// One space of it, or none.
struct TableNotes {
  TableCache* cache = nullptr;
  u32 space = 0;

  TableCache::Found find(u64 address) const {
    return cache ? cache->find(space, address) : TableCache::Found{};
  }
  void note(u64 address, u64 table, unsigned level) const {
    if (cache) cache->note(space, address, table, level);
  }
};

}  // namespace rvvm
