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

// Whose turn it is; by instructions also until when, and the moment that all harts have come to.
struct Turn {
  unsigned hart = 0;
  u64 end = 0;      // `elapsed` of the hart; when it is there or beyond, another one is chosen
  u64 reached = 0;  // no hart is behind this, and no alarm that is due later has been passed
};

class Turns {
 public:
  explicit Turns(System& system) : system{system} {}

  Exit run(u64& budget, const Poll& poll);
  Exit step(unsigned hart, u64 count, const Poll& poll);
  void reset() { turn_ = {.reached = turn_.reached}; }
  void resume(const Turn& turn);
  const Turn& turn() const { return turn_; }
  u64 reached() const { return reached_without(nullptr); }
  // By instructions: a hart that waits is woken, by what is no hart.
  void call(Cpu& cpu);
  void answer();

 private:
  u64 whole() const;  // instructions
  Exit take(unsigned index, u64 turn);
  Exit plain(Cpu& cpu, u64 turn);
  Exit observed(unsigned index, u64 turn);
  bool poll_outside(const Poll& poll);
  bool all_waiting() const;
  bool alarmed();
  void idle();

  // Where time counts instructions.
  bool choose();
  bool jump();
  u64 part();
  void limit_time();
  u64 next_moment(const Cpu& cpu) const;
  u64 next_event() const;
  u64 reached_without(const Cpu* one) const;
  Exit step_in_time(Cpu& cpu);

  System& system;
  Turn turn_;
  std::atomic<bool> called_{false};  // some hart
};

}  // namespace rvvm
