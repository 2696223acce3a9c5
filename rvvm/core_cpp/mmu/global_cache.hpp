// Translations that all address spaces share (PTE.G): a new process finds the kernel's here and
// need not walk for them again.
#pragma once
#include <algorithm>
#include <array>

#include "mmu/translate.hpp"

namespace rvvm {

// Of all worlds of a hart: a world is what a ContextKey leaves when the address space is taken out
// of it, as a number; one that is given up is never used again.
class GlobalCache {
 public:
  // Kernels live in the upper half; others do without.
  static bool covers(u64 address) { return address >> 63; }

  // A translation that needs no walk: ok when it allows the access. PMP is still to be asked.
  Translation find(u32 world, u64 address, Access access) const {
    const Translation t = pages_.find(world, address, access);
    return t.ok ? t : regions_.find(world, address, access);
  }
  void note(u32 world, u64 address, Access access, const Translation& t);
  // A fence on one address: false when more is mapped by its leaf than can be found here, and so
  // the world has to be given up.
  bool forget(u32 world, u64 address);
  void clear() { *this = {}; }

  static constexpr u32 most_worlds = 1 << 19;  // so many fit beside a page number

 private:
  struct Entry {
    u64 tag = ~u64{0};
    u64 offset = 0;                         // physical address minus virtual
    u64 span = 0;                           // of the leaf of the first stage
    u8 loads = 0, stores = 0, fetches = 0;  // whether they are allowed
  };
  // Entries for so many address bits each: pages, and what large leaves map.
  template <unsigned Bits, std::size_t Size> struct Table {
    std::array<Entry, Size> entries;

    static u64 tag(u32 world, u64 address) {
      return address << 7 >> 7 >> Bits | static_cast<u64>(world) << 45;
    }
    Entry& at(u64 address) { return entries[(address >> Bits ^ address >> (Bits + 9)) % Size]; }
    Translation find(u32 world, u64 address, Access access) const {
      const Entry& e = const_cast<Table*>(this)->at(address);
      const bool allowed = access == Access::load    ? e.loads
                           : access == Access::store ? e.stores
                                                     : e.fetches;
      if (e.tag != tag(world, address) || !allowed) return {};
      return {.ok = true,
              .writable = e.stores != 0,
              .global = true,
              .physical = Hpa{address + e.offset},
              .span = e.span};
    }
    void note(u32 world, u64 address, Access access, const Translation& t) {
      Entry& e = at(address);
      const u64 offset = t.physical.value - address;
      if (e.tag != tag(world, address) || e.offset != offset)
        e = {.tag = tag(world, address), .offset = offset};
      e.span = t.span;
      e.loads |= access != Access::fetch;  // what may be written may be read
      e.stores |= access == Access::store || (access == Access::load && t.writable);
      e.fetches |= access == Access::fetch;
    }
    void forget(u32 world, u64 address) {
      if (at(address).tag == tag(world, address)) at(address) = {};
    }
  };

  Table<12, 1024> pages_;
  Table<21, 256> regions_;
  u64 large_first_ = ~u64{0}, large_last_ = 0;  // what leaves map that are more than an entry
};

}  // namespace rvvm
