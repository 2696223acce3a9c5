#include "engine/turns.hpp"

#include <algorithm>

#include "engine/commit_log.hpp"
#include "engine/system.hpp"
#include "hart/interrupts.hpp"
#include "semantics/hardfloat.hpp"

namespace rvvm {

namespace {

constexpr u64 steps_a_poll = 4096;

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

}  // namespace

Exit Turns::run(u64& budget, const Poll& poll) {
  const fp::HostEnvironment rounding;
  auto last_poll = std::chrono::steady_clock::now();
  auto due = [&] {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_poll < longest_sleep) return false;
    last_poll = now;
    return true;
  };
  Exit exit;
  unsigned barren = 0;
  while (budget > 0) {
    if (system.world.wanted()) system.world.begin_run();
    if (const auto asked = system.requests.take()) return {asked->reason, turn_, asked->detail};
    if (alarmed() || (due() && !poll())) return {ExitReason::pause};
    Cpu& cpu = system.hart(turn_);
    const u64 before = cpu.hart.retired;
    exit = take(turn_, std::min(budget, length(cpu)));
    system.do_chores();
    system.look();
    const u64 retired = cpu.hart.retired - before;
    budget -= std::min(budget, retired);
    barren = retired ? 0 : barren + (exit.reason == ExitReason::budget);
    if (barren == longest_barren) return exit;
    if (exit.reason != ExitReason::budget && exit.reason != ExitReason::wfi &&
        exit.reason != ExitReason::pause)
      return exit;
    turn_ = (turn_ + 1) % system.harts();
    if (turn_ == 0) advance_clock();
    if (exit.reason == ExitReason::wfi && all_waiting()) idle();
  }
  return {};
}

bool Turns::alarmed() {
  Clock& clock = system.clock;
  if (!clock.by_instructions || system.time() < clock.alarm) return false;
  clock.alarm = ~u64{0};
  return true;
}

u64 Turns::whole() const {
  const bool alone = system.harts() == 1 && !system.clock.by_instructions;
  return alone ? lone_turn_instructions : turn_instructions;
}

// With time that counts instructions a turn ends at the next deadline, so that timers fire at the
// same instruction in every run.
u64 Turns::length(Cpu& cpu) const {
  const Clock& clock = system.clock;
  const u64 turn = whole();
  if (!clock.by_instructions) return turn;
  cpu.turn_deadline = next_deadline(cpu.hart);
  const u64 now = cpu.hart.time();  // may be behind the alarm, until the round is over
  const u64 end = clock.alarm > now ? std::min(cpu.turn_deadline, clock.alarm) : cpu.turn_deadline;
  const u64 ticks = end - now;
  if (ticks >= turn) return turn;
  const u64 begun = cpu.hart.progress() % clock.instructions_per_tick;
  return std::min(turn, ticks * clock.instructions_per_tick - begun);
}

// Other threads may want the machine for themselves, a network's for instance.
Exit Turns::take(unsigned index, u64 turn) {
  Cpu& cpu = system.hart(index);
  const World::Guest guest{system.world, cpu};
  system.collect_code();
  cpu.raise_attention();  // timers may be due
  Exit exit = system.observers.any() ? observed(index, turn) : plain(cpu, turn);
  exit.hart = index;
  if (turn == whole() && exit.reason == ExitReason::budget) cpu.counts.sample(cpu.hart.pc);
  system.guard_reservation(cpu);
  return exit;
}

// At once, or disturbed in between: the same instructions and traps either way.
Exit Turns::plain(Cpu& cpu, u64 turn) {
  const auto run = [&](u64 budget, bool rough = false) {
    return system.engine().run(cpu, static_cast<i64>(budget), system.world.wanted(), rough);
  };
  auto& disturbance = system.disturbance;
  // Only who has asked for a number of instructions, or time that counts them, is exact.
  const bool rough = turn == whole() && !system.clock.by_instructions;
  if (!disturbance) return run(turn, rough);
  Exit exit;
  do {
    system.lose(disturbance->loss());
    system.collect_code();
    const u64 before = cpu.hart.retired + cpu.hart.traps;
    exit = run(disturbance->part(turn));
    turn -= std::min(turn, cpu.hart.retired + cpu.hart.traps - before);
  } while (turn && exit.reason == ExitReason::budget && !cpu.turn_over);
  return exit;
}

Exit Turns::observed(unsigned index, u64 turn) {
  Cpu& cpu = system.hart(index);
  Observers& observers = system.observers;
  std::vector<AccessRecord> accesses;
  cpu.mmu.record = &accesses;
  Exit exit;
  for (u64 k = 0; k < turn && !system.world.wanted(); ++k) {
    // A breakpoint stops before its instruction, and not again when the run goes on from there.
    const bool resumed = cpu.stopped_at == cpu.hart.pc;
    cpu.stopped_at = ~u64{0};
    if (!resumed && observers.breakpoints.contains(cpu.hart.pc)) {
      cpu.stopped_at = cpu.hart.pc;
      exit = {ExitReason::breakpoint, index, cpu.hart.pc};
      break;
    }
    if (cpu.hart.waiting && !cpu.attend() && cpu.hart.waiting) {
      exit = {ExitReason::wfi};
      break;
    }
    accesses.clear();
    if (observers.log) observers.log->before(cpu);
    exit = system.engine().run_one(cpu);
    if (observers.log) observers.log->after(cpu, accesses);
    if (observers.log && observers.log->error()) system.pause();  // who runs it looks why
    for (const AccessRecord& a : accesses)
      for (const Watchpoint& w : observers.watchpoints)
        if ((a.store ? w.on_store : w.on_load) && overlap(a.address, a.width, w.address, w.size))
          exit = {ExitReason::watchpoint, index, a.address};
    if (exit.reason != ExitReason::budget) break;
  }
  cpu.mmu.record = nullptr;
  return exit;
}

Exit Turns::step(unsigned index, u64 count, const Poll& poll) {
  const fp::HostEnvironment rounding;
  Cpu& cpu = system.hart(index);
  Exit exit;
  system.world.begin_run();
  const World::Guest guest{system.world, cpu};
  system.collect_code();
  for (u64 k = 0; k < count && exit.reason == ExitReason::budget; ++k) {
    exit = system.engine().step(cpu);
    if (system.harts() == 1) advance_clock();
    if (const auto halted = system.requests.take_halt()) exit = *halted;
    const bool ends = system.world.run_ends() && system.requests.take();
    if (ends || (k % steps_a_poll == steps_a_poll - 1 && !poll_outside(poll)))
      exit = {ExitReason::pause};
  }
  system.guard_reservation(cpu);
  exit.hart = index;
  return exit;
}

bool Turns::poll_outside(const Poll& poll) {
  const World::Outside outside{system.world};
  return poll();
}

bool Turns::all_waiting() const {
  return std::ranges::all_of(system.cpus(), [](const auto& cpu) { return cpu->hart.waiting; });
}

// Nothing to execute until a wire changes or a timer is due. Instruction time jumps there; host
// time passes. A device that goes on with what it has put off is not kept waiting.
void Turns::idle() {
  if (system.chores_due()) return;
  u64 deadline = ~u64{0};
  for (auto& cpu : system.cpus()) {
    cpu->take_pins();
    if (wakes(cpu->hart)) return;
    deadline = std::min(deadline, next_deadline(cpu->hart));
  }
  Clock& clock = system.clock;
  const u64 now = system.time();
  if (clock.by_instructions) deadline = std::min(deadline, clock.alarm);
  if (clock.by_instructions && deadline != ~u64{0}) {
    if (deadline > now) clock.offset += deadline - now;
    return;
  }
  const std::chrono::nanoseconds longest{longest_sleep};
  system.look(std::min(longest, clock.until(deadline, now)));
}

// A round of turns is over: instruction time passes by the instructions of the hart that retired
// most, so that no hart sees it go back. What makes no whole tick counts for the next round.
void Turns::advance_clock() {
  Clock& clock = system.clock;
  u64 most = 0;
  for (auto& cpu : system.cpus()) most = std::max(most, cpu->hart.progress());
  clock.virtual_ticks += most / clock.instructions_per_tick;
  const u64 rest = most % clock.instructions_per_tick;
  for (auto& cpu : system.cpus()) cpu->hart.turn_start = cpu->hart.retired - rest;
}

}  // namespace rvvm
