// Ways from a virtual pc to translated code: a table for each translation context of a hart, so
// that a change of context is a pointer store; kernels' contexts share one for what all address
// spaces map. Translated code reads it at every indirect jump.
#pragma once
#include <bit>
#include <memory>
#include <vector>

#include "isa/types.hpp"

namespace rvvm {

struct Way {
  static constexpr u64 nowhere = 1;  // no pc is odd
  u64 pc = nowhere;
  const u8* code = nullptr;
};

class Ways {
 public:
  static constexpr std::size_t entries = 32768;  // 512 KB; by the low 16 bits of a pc

  Way* data() {
    if (!ways_) ways_ = std::make_unique<Way[]>(entries);
    return ways_.get();
  }
  void add(u64 pc, const u8* code) {
    const std::size_t index = pc / 2 % entries;
    used_ |= u64{1} << index / part;
    data()[index] = {pc, code};
  }
  // Empty, unless it is of this world and this mapping of addresses in it already.
  void keep_for(u32 world, u64 mapping) {
    if (mapping_ == mapping && world_ == world) return;
    clear();
    world_ = world;
    mapping_ = mapping;
  }
  void clear() {
    for (; used_; used_ &= used_ - 1)
      std::fill_n(&ways_[std::countr_zero(used_) * part], part, Way{});
  }

 private:
  static constexpr std::size_t part = entries / 64;
  std::unique_ptr<Way[]> ways_;  // made when it is first wanted
  u64 used_ = 0;                 // parts that are not empty
  u32 world_ = 0;
  u64 mapping_ = 0;
};

}  // namespace rvvm
