#include "engine/threads.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "engine/system.hpp"
#include "hart/interrupts.hpp"
#include "semantics/hardfloat.hpp"

namespace rvvm {

namespace {

constexpr u64 largest_claim = 1'000'000;  // instructions, until a hart asks for more
// Of a hart that spins. Yielding the processor instead has been seen to keep a thread from it for
// seconds, on a busy host.
constexpr auto rest = std::chrono::microseconds(50);

}  // namespace

std::optional<Exit> Threads::run(u64& budget, const Poll& poll) {
  left_ = budget;
  claimers_ = 0;
  exit_.reset();
  barren_ = 0;
  system.world.begin_run();
  if (const auto asked = system.requests.take()) return asked;
  running_ = true;
  system.run_concurrently(true);
  std::vector<std::thread> threads;
  attempt([&] {
    for (unsigned index = 0; index < system.harts(); ++index)
      threads.emplace_back([this, index] {
        attempt([&] { system.around_thread([this, index] { hart_thread(index); }); });
      });
  });
  while (!system.world.run_ends()) {
    system.look(longest_sleep);
    system.do_chores();  // of threads that are no harts'
    if (!poll()) finish({ExitReason::pause});
  }
  for (std::thread& thread : threads) thread.join();
  running_ = false;
  system.run_concurrently(false);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  budget = left_;
  if (const auto asked = system.requests.take()) return asked;
  return exit_;
}

// What the host has no room for, in whatever thread, is for the one that runs the machine.
template <class Act> void Threads::attempt(Act act) {
  try {
    act();
  } catch (...) {
    finish({ExitReason::pause});
    std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
}

void Threads::hart_thread(unsigned index) {
  const fp::HostEnvironment rounding;
  Cpu& cpu = system.hart(index);
  while (u64 budget = claim()) {
    std::chrono::nanoseconds sleep{0};
    Exit exit = execute(cpu, budget, sleep);
    give_back(budget);
    system.do_chores();
    exit.hart = index;
    switch (exit.reason) {
      case ExitReason::budget:
      case ExitReason::pause:
      case ExitReason::wfi: break;
      default: finish(exit);
    }
    if (sleep.count() && !system.chores_due()) cpu.bell.sleep(sleep);
    if (system.code_to_collect()) system.world.between_blocks([this] { system.collect_code(); });
  }
}

// Turns of one hart, so that its timers are looked at, until the budget is used up or somebody
// wants the machine.
Exit Threads::execute(Cpu& cpu, u64& budget, std::chrono::nanoseconds& sleep) {
  const World::Guest guest{system.world, cpu};
  Exit exit;
  while (budget && exit.reason == ExitReason::budget && !system.world.wanted()) {
    cpu.raise_attention();  // timers may be due
    const u64 before = cpu.hart.retired;
    const u64 turn = std::min(budget, turn_instructions);
    const bool rough = turn == turn_instructions;
    exit = system.engine().run(cpu, static_cast<i64>(turn), system.world.wanted(), rough);
    if (turn == turn_instructions && exit.reason == ExitReason::budget)
      cpu.counts.sample(cpu.hart.pc);
    const u64 retired = cpu.hart.retired - before;
    budget -= std::min(budget, retired);
    if (retired)
      barren_.store(0, std::memory_order_relaxed);
    else if (exit.reason == ExitReason::budget && ++barren_ == longest_barren)
      finish(exit);
    if (cpu.pauses >= Cpu::most_pauses) sleep = rest;
    if (sleep.count() || system.code_to_collect() || system.chores_due()) break;
  }
  if (exit.reason == ExitReason::wfi)
    sleep = system.clock.until(next_deadline(cpu.hart), system.time());
  return exit;
}

// A part of the budget: small towards its end, so that all get some. 0 when the run ends.
u64 Threads::claim() {
  std::unique_lock lock(mutex_);
  given_back_.wait(lock, [this] { return left_ || !claimers_ || system.world.run_ends(); });
  if (!left_ && !exit_) {
    exit_ = Exit{};
    system.end_run();
  }
  if (system.world.run_ends()) return 0;
  const u64 part = std::clamp<u64>(left_ / (2 * system.harts()), 1, largest_claim);
  left_ -= part;
  ++claimers_;
  return part;
}

void Threads::give_back(u64 unused) {
  std::lock_guard lock(mutex_);
  left_ += unused;
  --claimers_;
  given_back_.notify_all();
}

void Threads::finish(const Exit& exit) {
  std::lock_guard lock(mutex_);
  if (!exit_) exit_ = exit;
  system.end_run();
  given_back_.notify_all();
}

}  // namespace rvvm
