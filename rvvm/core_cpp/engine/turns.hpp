// Harts in turn, in one thread: exact, and the same in every run where time counts instructions.
#pragma once
#include <functional>

#include "engine/cpu.hpp"

namespace rvvm {

class System;
using Poll = std::function<bool()>;

// A fraction of a millisecond: timers and other harts wait no longer.
constexpr u64 turn_instructions = 50'000, lone_turn_instructions = 100'000;
constexpr auto longest_sleep =
    std::chrono::milliseconds(20);        // then poll: signals must get through
constexpr unsigned longest_barren = 100;  // turns of nothing but traps, after which a run gives up

class Turns {
 public:
  explicit Turns(System& system) : system{system} {}

  Exit run(u64& budget, const Poll& poll);
  Exit step(unsigned hart, u64 count, const Poll& poll);
  void reset() { turn_ = 0; }
  void resume(unsigned turn) { turn_ = turn; }
  unsigned whose() const { return turn_; }

 private:
  u64 whole() const;  // instructions
  u64 length(Cpu& cpu) const;
  Exit take(unsigned index, u64 turn);
  Exit plain(Cpu& cpu, u64 turn);
  Exit observed(unsigned index, u64 turn);
  bool poll_outside(const Poll& poll);
  bool all_waiting() const;
  bool alarmed();
  void idle();
  void advance_clock();

  System& system;
  unsigned turn_ = 0;  // whose it is
};

}  // namespace rvvm
