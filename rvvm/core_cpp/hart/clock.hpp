// Where `time` comes from: the host's clock, or retired instructions (then the same inputs give the
// same run).
#pragma once
#include <algorithm>
#include <bit>
#include <chrono>
#include <numeric>

#include "isa/types.hpp"

namespace rvvm {

// n / divisor for n below 2^63, by a multiplication: Granlund and Montgomery, "Division by
// Invariant Integers using Multiplication", theorem 4.2. A division of 128 bits takes as long as
// reading the host's clock.
class Divider {
 public:
  explicit constexpr Divider(u64 divisor) : divisor_{divisor}, shift_{63 + log2_up(divisor)} {
    // 2^shift / divisor rounded up. It is below 2^64, and n times the excess is too little to
    // count.
    reciprocal_ = static_cast<u64>(((u128{1} << shift_) + divisor - 1) / divisor);
  }
  constexpr u64 operator()(u64 n) const {
    return static_cast<u64>(static_cast<u128>(n) * reciprocal_ >> shift_);
  }
  constexpr u64 divisor() const { return divisor_; }

 private:
  static constexpr unsigned log2_up(u64 n) { return n > 1 ? std::bit_width(n - 1) : 0; }
  u64 divisor_, reciprocal_ = 0;
  unsigned shift_;
};

// Nanoseconds below 2^63 as ticks, rounded down, for frequencies below 2^33.
class Ticks {
 public:
  explicit constexpr Ticks(u64 frequency)
      : factor_{frequency / std::gcd(frequency, second)},
        by_{second / std::gcd(frequency, second)} {}
  constexpr u64 operator()(u64 nanoseconds) const {
    const u64 whole = by_(nanoseconds);
    if (factor_ == 1) return whole;
    return whole * factor_ + by_((nanoseconds - whole * by_.divisor()) * factor_);
  }

 private:
  static constexpr u64 second = 1'000'000'000;
  u64 factor_;
  Divider by_;
};

struct Clock {
  static constexpr u64 highest_frequency = (u64{1} << 33) - 1;

  explicit Clock(u64 frequency, bool by_instructions = false)
      : frequency{frequency},
        by_instructions{by_instructions},
        instructions_per_tick{std::max<u64>(1, 1'000'000'000 / frequency)},
        ticks_of_host{frequency},
        ticks_of_elapsed{instructions_per_tick},
        longest_wait{(u64{1} << 62) / instructions_per_tick} {
    if (!by_instructions) offset = 0 - host_ticks();  // time starts at zero
  }

  u64 frequency;  // ticks a second: the tree's timebase-frequency
  bool by_instructions;
  u64 instructions_per_tick;  // of a nominal 1 GHz hart
  u64 offset = 0;             // added to the raw source; writing mtime changes it
  u64 alarm = ~u64{0};  // by_instructions: when the run is to end once, for who embeds the system

  // `elapsed`: by_instructions, where the asking hart is (Hart::elapsed).
  u64 now(u64 elapsed) const {
    return offset + (by_instructions ? ticks_of_elapsed(elapsed) : host_ticks());
  }
  // Where time is, to go on from there later: without a jump where it follows the host's clock.
  u64 moment() const { return by_instructions ? offset : now(0); }
  void resume(u64 moment) { offset = by_instructions ? moment : moment - host_ticks(); }

  // by_instructions: where a hart that is at `elapsed` will be at a deadline. What is more than a
  // century away is never.
  static constexpr u64 never = ~u64{0};
  u64 elapsed_at(u64 deadline, u64 elapsed) const {
    const u64 done = ticks_of_elapsed(elapsed), time = offset + done;
    if (deadline <= time) return elapsed;
    return deadline - time < longest_wait ? (done + (deadline - time)) * instructions_per_tick
                                          : never;
  }
  // The end of the tick after that of `elapsed`.
  u64 a_tick_on(u64 elapsed) const {
    return elapsed == never ? never : (ticks_of_elapsed(elapsed) + 2) * instructions_per_tick - 1;
  }

  // How long the host's clock takes from `now` to a deadline; a second will do.
  std::chrono::nanoseconds until(u64 deadline, u64 now) const {
    const u64 ticks = deadline > now ? std::min(deadline - now, frequency) : 0;
    return std::chrono::nanoseconds(static_cast<u128>(ticks) * 1'000'000'000 / frequency);
  }
  u64 host_ticks() const {
    return ticks_of_host(std::chrono::steady_clock::now().time_since_epoch().count());
  }

 private:
  Ticks ticks_of_host;
  Divider ticks_of_elapsed;
  u64 longest_wait;
};

}  // namespace rvvm
