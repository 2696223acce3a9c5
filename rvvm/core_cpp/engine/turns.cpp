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
  const bool by_instructions = system.clock.by_instructions;
  if (by_instructions) limit_time();
  Exit exit;
  unsigned barren = 0;
  while (budget > 0) {
    if (system.world.wanted()) system.world.begin_run();
    answer();
    if (const auto asked = system.requests.take())
      return {asked->reason, turn_.hart, asked->detail};
    if (alarmed() || (due() && !poll())) return {ExitReason::pause};
    if (by_instructions && !choose()) {
      system.do_chores();
      continue;
    }
    Cpu& cpu = system.hart(turn_.hart);
    const u64 before = cpu.hart.retired;
    exit = take(turn_.hart, std::min(budget, by_instructions ? part() : whole()));
    system.do_chores();
    system.look();
    const u64 retired = cpu.hart.retired - before;
    budget -= std::min(budget, retired);
    barren = retired ? 0 : barren + (exit.reason == ExitReason::budget);
    if (barren == longest_barren) return exit;
    if (exit.reason != ExitReason::budget && exit.reason != ExitReason::wfi &&
        exit.reason != ExitReason::pause)
      return exit;
    if (by_instructions) continue;
    turn_.hart = (turn_.hart + 1) % system.harts();
    if (exit.reason == ExitReason::wfi && all_waiting()) idle();
  }
  return {};
}

bool Turns::alarmed() {
  Clock& clock = system.clock;
  if (clock.alarm == ~u64{0} || system.time() < clock.alarm) return false;
  clock.alarm = ~u64{0};
  return true;
}

u64 Turns::whole() const {
  const bool alone = system.harts() == 1 && !system.clock.by_instructions;
  return alone ? lone_turn_instructions : turn_instructions;
}

// Other threads may want the machine for themselves, a network's for instance.
Exit Turns::take(unsigned index, u64 turn) {
  Cpu& cpu = system.hart(index);
  const World::Guest guest{system.world, cpu};
  system.collect_code();
  cpu.turn_over = false;
  cpu.raise_attention();  // timers may be due
  Exit exit = system.observers.any() ? observed(index, turn) : plain(cpu, turn);
  exit.hart = index;
  if (turn == whole() && exit.reason == ExitReason::budget) cpu.counts.sample(cpu.hart.pc);
  system.guard_reservation(cpu);
  if (cpu.turn_over) turn_.end = 0;
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
  } while (turn && exit.reason == ExitReason::budget && !cpu.turn_over && !cpu.plan_anew);
  return exit;
}

Exit Turns::observed(unsigned index, u64 turn) {
  Cpu& cpu = system.hart(index);
  Observers& observers = system.observers;
  std::vector<AccessRecord> accesses;
  cpu.mmu.record = &accesses;
  Exit exit;
  const u64 end = cpu.hart.retired + cpu.hart.traps + turn;
  while (cpu.hart.retired + cpu.hart.traps < end && !system.world.wanted()) {
    // A breakpoint stops before its instruction, and not again when the run goes on from there.
    const bool resumed = cpu.stopped_at == cpu.hart.pc;
    cpu.stopped_at = ~u64{0};
    if (!resumed && !cpu.hart.waiting && observers.breakpoints.contains(cpu.hart.pc)) {
      cpu.stopped_at = cpu.hart.pc;
      exit = {ExitReason::breakpoint, index, cpu.hart.pc};
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
    if (exit.reason != ExitReason::budget || cpu.turn_over || cpu.plan_anew) break;
  }
  cpu.mmu.record = nullptr;
  return exit;
}

Exit Turns::step(unsigned index, u64 count, const Poll& poll) {
  const fp::HostEnvironment rounding;
  Cpu& cpu = system.hart(index);
  cpu.turn_over = false;
  cpu.hart.time_limit = Clock::never;
  Exit exit;
  system.world.begin_run();
  const World::Guest guest{system.world, cpu};
  system.collect_code();
  for (u64 k = 0; k < count && exit.reason == ExitReason::budget; ++k) {
    exit = system.clock.by_instructions ? step_in_time(cpu) : system.engine().step(cpu);
    if (system.chores_due()) {
      const World::Outside outside{system.world};  // who has the GIL may wait for the harts
      system.do_chores();
    }
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

// Nothing to execute until a wire changes or a timer is due: the host's time passes. A device that
// goes on with what it has put off is not kept waiting.
void Turns::idle() {
  if (system.chores_due()) return;
  u64 deadline = ~u64{0};
  for (auto& cpu : system.cpus()) {
    cpu->take_pins();
    if (wakes(cpu->hart)) return;
    deadline = std::min(deadline, next_deadline(cpu->hart));
  }
  const std::chrono::nanoseconds longest{longest_sleep};
  system.look(std::min(longest, system.clock.until(deadline, system.time())));
}

// ---- Where time counts instructions
//
// Each hart has its own place in time, Hart::elapsed. The hart that is farthest behind has its
// turn, for a whole turn's length; a hart that waits is where its next timer is due. What tells a
// hart the time (the CSR, a timer's interrupt, a device) waits until no other is more than a tick
// behind, so that no hart that hears of it reads an earlier time. All this is decided by the harts'
// state alone: where a run is cut into pieces changes nothing.

void Turns::resume(const Turn& turn) {
  turn_ = turn;
  turn_.hart %= system.harts();
}

// When the hart has something to do.
u64 Turns::next_moment(const Cpu& cpu) const {
  const Hart& h = cpu.hart;
  if (!h.waiting || wakes(h)) return h.elapsed();
  return system.clock.elapsed_at(next_deadline(h), h.elapsed());
}

u64 Turns::reached_without(const Cpu* one) const {
  u64 first = Clock::never, latest = 0;
  for (const auto& cpu : system.cpus()) {
    if (cpu.get() == one) continue;
    first = std::min(first, next_moment(*cpu));
    latest = std::max(latest, cpu->hart.elapsed());
  }
  return std::max(turn_.reached, std::min({first, latest, next_event()}));
}

// An alarm, or what devices have put off.
u64 Turns::next_event() const {
  const Clock& clock = system.clock;
  return std::min(clock.elapsed_at(clock.alarm, turn_.reached), system.chores_at());
}

void Turns::call(Cpu& cpu) {
  cpu.called = true;
  called_ = true;
}

// Where a hart that was woken is in time follows from the others.
void Turns::answer() {
  if (!called_.exchange(false)) return;
  for (auto& cpu : system.cpus())
    if (cpu->called.exchange(false) && cpu->hart.waiting)
      cpu->hart.pass_to(reached_without(cpu.get()));
}

// Whose turn it is now. False when there is an event first, or all wait for the outside.
bool Turns::choose() {
  const Hart& present = system.hart(turn_.hart).hart;
  if (!present.waiting && present.elapsed() < turn_.end && present.elapsed() < next_event())
    return true;
  u64 first = Clock::never, second = Clock::never, latest = 0;
  unsigned next = turn_.hart;
  for (unsigned k = 1; k <= system.harts(); ++k) {  // the last one again after all others
    const unsigned index = (turn_.hart + k) % system.harts();
    Cpu& cpu = system.hart(index);
    cpu.take_pins();
    if (cpu.called) continue;
    latest = std::max(latest, cpu.hart.elapsed());
    const u64 at = next_moment(cpu);
    second = std::min(second, std::max(first, at));
    if (at >= first) continue;
    first = at;
    next = index;
  }
  const u64 event = next_event(), moment = std::min(first, event);
  turn_.reached = std::max(turn_.reached, std::min(moment, latest));
  if (moment == Clock::never) return jump();
  turn_.reached = std::max(turn_.reached, moment);
  if (event <= turn_.reached) return false;
  Hart& h = system.hart(next).hart;
  h.pass_to(first);
  h.time_limit = system.clock.a_tick_on(second);
  turn_.hart = next;
  turn_.end = first + turn_instructions;
  return true;
}

// All wait, for nothing in sight.
bool Turns::jump() {
  Clock& clock = system.clock;
  u64 deadline = clock.alarm;
  for (const auto& cpu : system.cpus()) {
    deadline = std::min(deadline, next_deadline(cpu->hart));
    turn_.reached = std::max(turn_.reached, cpu->hart.elapsed());
  }
  for (auto& cpu : system.cpus()) cpu->hart.pass_to(turn_.reached);
  const u64 now = clock.now(turn_.reached);
  if (deadline != ~u64{0})
    clock.offset += deadline > now ? deadline - now : 0;
  else if (!called_)
    system.look(longest_sleep);
  return false;
}

// Until when the hart whose turn it is may look at the time: to the end of the tick after that of
// the one that is farthest behind.
void Turns::limit_time() {
  Cpu& present = system.hart(turn_.hart);
  u64 others = Clock::never;
  for (const auto& cpu : system.cpus())
    if (cpu.get() != &present) others = std::min(others, next_moment(*cpu));
  present.hart.time_limit = system.clock.a_tick_on(others);
}

// How much of its turn the hart has before a timer or an alarm is due.
u64 Turns::part() {
  Cpu& cpu = system.hart(turn_.hart);
  const Clock& clock = system.clock;
  const u64 now = cpu.hart.elapsed();
  cpu.deadline = std::min(next_deadline(cpu.hart), clock.alarm);
  const u64 end = std::min({turn_.end, clock.elapsed_at(cpu.deadline, now), system.chores_at()});
  return end - now;
}

// One instruction or trap. What waits goes on when its timer is due, as in a run; if it has none,
// at once.
Exit Turns::step_in_time(Cpu& cpu) {
  cpu.take_pins();
  const u64 moment = std::min(next_moment(cpu), std::max(next_event(), cpu.hart.elapsed()));
  if (moment == Clock::never)
    cpu.hart.waiting = false;
  else
    cpu.hart.pass_to(moment);
  cpu.turn_over = false;  // of no account where one hart is stepped
  const Exit exit = system.engine().run_one(cpu);
  return exit.reason == ExitReason::wfi ? Exit{} : exit;
}

}  // namespace rvvm
