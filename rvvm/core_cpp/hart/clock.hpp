// Where `time` comes from: the host's clock, or retired instructions (then the same inputs give the
// same run).
#pragma once
#include <chrono>

#include "isa/types.hpp"

namespace rvvm {

struct Clock {
  u64 frequency = 10'000'000;  // ticks a second: the tree's timebase-frequency
  bool by_instructions = false;
  u64 instructions_per_tick = 100;  // a nominal 1 GHz hart at the default frequency
  u64 offset = 0;                   // added to the raw source; writing mtime changes it
  u64 virtual_ticks = 0;  // by_instructions: ticks that have passed at the scheduler's last turn

  // `progress`: instructions the asking hart has retired since the scheduler's last turn.
  u64 now(u64 progress) const {
    return offset +
           (by_instructions ? virtual_ticks + progress / instructions_per_tick : host_ticks());
  }
  u64 host_ticks() const {
    auto ns = std::chrono::steady_clock::now().time_since_epoch().count();
    return static_cast<u64>(static_cast<u128>(ns) * frequency / 1'000'000'000);
  }
};

}  // namespace rvvm
