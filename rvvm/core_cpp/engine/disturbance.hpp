// A test of all that is cached: a turn is taken in parts, and between them something is lost. No
// guest may see it.
#pragma once
#include <algorithm>

#include "isa/types.hpp"

namespace rvvm {

class Disturbance {
 public:
  enum class Loss : u8 { none, ways, translations, code };

  explicit Disturbance(u64 seed) : state_{seed * 2 + 1} {}

  // How long the next part is: up to 4,096 instructions, more often fewer.
  u64 part(u64 longest) { return std::min(longest, 1 + next() % (u64{16} << next() % 9)); }
  Loss loss() { return static_cast<Loss>(next() % 4); }

 private:
  u64 next() {  // xorshift64*
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545'f491'4f6c'dd1d >> 32;
  }
  u64 state_;
};

}  // namespace rvvm
