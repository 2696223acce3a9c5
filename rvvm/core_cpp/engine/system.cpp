#include "engine/system.hpp"

#include <algorithm>

#include "engine/commit_log.hpp"
#include "hart/counters.hpp"
#include "hart/interrupts.hpp"
#include "semantics/hardfloat.hpp"

namespace rvvm {

namespace {

constexpr u64 turn_instructions =
    50'000;  // a fraction of a millisecond: timers and other harts wait no longer
constexpr auto longest_sleep =
    std::chrono::milliseconds(20);        // then poll: signals must get through
constexpr unsigned longest_barren = 100;  // turns of nothing but traps, after which a run gives up

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

}  // namespace

Observers::Observers() = default;
Observers::~Observers() = default;
bool Observers::any() const { return log || !breakpoints.empty() || !watchpoints.empty(); }

System::System(Clock clock, std::unique_ptr<Interpreter> engine)
    : clock{clock}, engine_{std::move(engine)} {}
System::~System() = default;

CodeCache& System::code_for(ExtSet extensions) {
  for (auto& [set, cache] : code_)
    if (set == extensions) return *cache;
  code_.emplace_back(extensions, std::make_unique<CodeCache>(bus, extensions));
  return *code_.back().second;
}

Cpu& System::add_hart(u64 hart_id, ExtSet extensions, u64 reset_pc) {
  CodeCache& code = code_for(extensions);
  cpus_.push_back(std::make_unique<Cpu>(bus, *this, code, hart_id, extensions, reset_pc, clock));
  return *cpus_.back();
}

// ---- Running

Exit System::run(u64 budget, const std::function<bool()>& poll) {
  if (cpus_.empty()) return {};
  const fp::HostEnvironment rounding;
  auto last_poll = std::chrono::steady_clock::now();
  auto due = [&] {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_poll < longest_sleep) return false;
    last_poll = now;
    return true;
  };
  stop_ = pause_requested_.load();
  Exit exit;
  unsigned barren = 0;
  while (budget > 0) {
    if (interrupted(exit)) return exit;
    if (due() && !poll()) return {ExitReason::pause};
    collect_code();
    Cpu& cpu = *cpus_[turn_];
    const u64 before = cpu.hart.retired;
    exit = take_turn(turn_, std::min(budget, turn_length(cpu)));
    const u64 retired = cpu.hart.retired - before;
    budget -= std::min(budget, retired);
    barren = retired ? 0 : barren + (exit.reason == ExitReason::budget);
    if (barren == longest_barren) return exit;
    if (exit.reason != ExitReason::budget && exit.reason != ExitReason::wfi &&
        exit.reason != ExitReason::pause)
      return exit;
    turn_ = (turn_ + 1) % cpus_.size();
    if (turn_ == 0) advance_clock();
    if (exit.reason == ExitReason::wfi && all_waiting()) idle();
  }
  return {};
}

bool System::interrupted(Exit& exit) {
  if (halted_) {
    halted_ = false;
    exit = {ExitReason::halt, turn_, halt_code_};
    return true;
  }
  if (pause_requested_.exchange(false)) {
    exit = {ExitReason::pause, turn_};
    return true;
  }
  stop_ = false;
  return false;
}

// With time that counts instructions a turn ends at the next deadline, so that timers fire at the
// same instruction in every run.
u64 System::turn_length(Cpu& cpu) const {
  u64 turn = std::min(turn_instructions, counters::until_overflow(cpu.hart));
  if (!clock.by_instructions) return turn;
  cpu.turn_deadline = next_deadline(cpu.hart);
  const u64 ticks = cpu.turn_deadline - cpu.hart.time();
  if (ticks >= turn_instructions) return turn;
  const u64 begun = cpu.hart.progress() % clock.instructions_per_tick;
  return std::min(turn, ticks * clock.instructions_per_tick - begun);
}

Exit System::take_turn(unsigned index, u64 turn) {
  Cpu& cpu = *cpus_[index];
  cpu.raise_attention();  // timers may be due
  Exit exit = observers.any() ? observed_turn(index, turn)
                              : engine_->run(cpu, static_cast<i64>(turn), stop_);
  exit.hart = index;
  guard_reservation(cpu);
  return exit;
}

Exit System::observed_turn(unsigned index, u64 turn) {
  Cpu& cpu = *cpus_[index];
  std::vector<AccessRecord> accesses;
  cpu.mmu.record = &accesses;
  Exit exit;
  for (u64 k = 0; k < turn && !stop_; ++k) {
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
    exit = engine_->run_one(cpu);
    if (observers.log) observers.log->after(cpu, accesses);
    for (const AccessRecord& a : accesses)
      for (const Watchpoint& w : observers.watchpoints)
        if ((a.store ? w.on_store : w.on_load) && overlap(a.address, a.width, w.address, w.size))
          exit = {ExitReason::watchpoint, index, a.address};
    if (exit.reason != ExitReason::budget) break;
  }
  cpu.mmu.record = nullptr;
  return exit;
}

Exit System::step(unsigned index, u64 count) {
  const fp::HostEnvironment rounding;
  Cpu& cpu = *cpus_[index];
  Exit exit;
  collect_code();
  for (u64 k = 0; k < count && exit.reason == ExitReason::budget; ++k) {
    exit = engine_->step(cpu);
    if (cpus_.size() == 1) advance_clock();
    if (halted_) interrupted(exit);
  }
  guard_reservation(cpu);
  exit.hart = index;
  return exit;
}

bool System::all_waiting() const {
  return std::ranges::all_of(cpus_, [](const auto& cpu) { return cpu->hart.waiting; });
}

// Nothing to execute until a wire changes or a timer is due. Instruction time jumps there; host
// time passes.
void System::idle() {
  u64 deadline = ~u64{0};
  for (auto& cpu : cpus_) {
    cpu->take_pins();
    if (wakes(cpu->hart)) return;
    deadline = std::min(deadline, next_deadline(cpu->hart));
  }
  const u64 now = time();
  if (clock.by_instructions && deadline != ~u64{0}) {
    if (deadline > now) clock.offset += deadline - now;
    return;
  }
  const u64 ticks = deadline > now ? deadline - now : 0;
  const u64 longest = clock.frequency / 50;
  const auto sleep = ticks < longest
                         ? std::chrono::nanoseconds(ticks * 1'000'000'000 / clock.frequency)
                         : std::chrono::nanoseconds(longest_sleep);
  std::unique_lock lock(mutex_);
  const u64 seen = wakes_;
  wake_.wait_for(lock, sleep, [&] { return wakes_ != seen || stop_.load(); });
}

// A round of turns is over: instruction time passes by the instructions of the hart that retired
// most, so that no hart sees it go back. What makes no whole tick counts for the next round.
void System::advance_clock() {
  u64 most = 0;
  for (auto& cpu : cpus_) most = std::max(most, cpu->hart.progress());
  clock.virtual_ticks += most / clock.instructions_per_tick;
  const u64 rest = most % clock.instructions_per_tick;
  for (auto& cpu : cpus_) cpu->hart.turn_start = cpu->hart.retired - rest;
}

void System::collect_code() {
  const auto full = [](const auto& code) { return code.second->full(); };
  if (engine_->full() || std::ranges::any_of(code_, full)) forget_code();
  for (auto& [set, cache] : code_) cache->collect();
}

// ---- From outside

void System::pause() {
  pause_requested_ = true;
  stop_ = true;
  for (auto& cpu : cpus_) cpu->raise_attention();  // at the next block, not at the turn's end
  std::lock_guard lock(mutex_);
  ++wakes_;
  wake_.notify_all();
}

void System::halt(u64 code) {
  halted_ = true;
  halt_code_ = code;
  stop_ = true;
  for (auto& cpu : cpus_) cpu->raise_attention();
}

void System::wires_changed(Cpu& cpu) {
  cpu.raise_attention();
  std::lock_guard lock(mutex_);
  ++wakes_;
  wake_.notify_all();
}

void System::reset() {
  for (auto& cpu : cpus_) cpu->reset();
  turn_ = 0;
}

void System::set_time(u64 value) {
  clock.offset += value - time();
  for (auto& cpu : cpus_) cpu->raise_attention();
}

void System::observe() {
  for (auto& cpu : cpus_) {
    cpu->mmu.uncached = observers.any();
    cpu->mmu.clear();
    cpu->mmu.refresh();
    cpu->code_changed();
  }
}

void System::stop_on_traps(const std::set<u64>& causes) {
  stop_causes_[0] = stop_causes_[1] = 0;
  for (u64 cause : causes) stop_causes_[cause >> 63] |= u64{1} << (cause & 63);
  for (auto& cpu : cpus_) cpu->stop_causes = causes.empty() ? nullptr : stop_causes_;
}

CodeCache::Stats System::code_stats() const {
  CodeCache::Stats sum;
  for (const auto& [set, cache] : code_) {
    sum.blocks += cache->stats.blocks;
    sum.instructions += cache->stats.instructions;
    sum.dropped += cache->stats.dropped;
  }
  return sum;
}

// ---- Memory and translated code

bool System::read(u64 address, u8* data, u64 size) const {
  const u8* host = bus.host(Hpa{address}, size);
  if (host) std::memcpy(data, host, size);
  return host != nullptr;
}

bool System::write(u64 address, const u8* data, u64 size) {
  u8* host = bus.host(Hpa{address}, size);
  if (!host) return false;
  std::memcpy(host, data, size);
  written(address, size);
  return true;
}

void System::written(u64 address, u64 size) {
  if (!size) return;
  code_written(Hpa{address}, size);
  reserved_written(nullptr, Hpa{address}, size);
}

void System::forget_code() {
  for (auto& [set, cache] : code_) cache->clear();
  engine_->forget();
  for (auto& cpu : cpus_) cpu->code_changed();
}

void System::code_translated(Hpa page) {
  const u8* host = bus.host(Hpa{page.value & ~page_mask}, page_size);
  for (auto& cpu : cpus_) cpu->mmu.tlb.forget_writable(host);
}

void System::code_written(Hpa address, u64 size) {
  bool dropped = false, held = false;
  for (auto& [set, cache] : code_) {
    dropped |= cache->written(address, size);
    held |= cache->holds(address);
  }
  if (!held) bus.ram(address)->flags(address) &= ~page_has_code;
  if (!dropped) return;
  for (auto& cpu : cpus_) cpu->code_changed();
}

// While others have their turn, stores near this hart's reservation must be seen: "An SC must fail
// if a store to the reservation set from another hart can be observed to occur between the LR and
// SC".
void System::guard_reservation(const Cpu& cpu) {
  const Reservation& r = cpu.hart.reservation;
  if (!r.valid || cpus_.size() == 1) return;
  const Hpa at{r.address};
  u8& flags = bus.ram(at)->flags(at);
  if (flags & page_reserved) return;
  flags |= page_reserved;
  const u8* host = bus.host(Hpa{r.address & ~page_mask}, page_size);
  for (auto& other : cpus_)
    if (other.get() != &cpu) other->mmu.tlb.forget_writable(host);
}

void System::reserved_written(const Hart* by, Hpa address, u64 size) {
  bool held = false;
  for (auto& cpu : cpus_) {
    Reservation& r = cpu->hart.reservation;
    if (&cpu->hart != by && overlap(r.address, r.width, address.value, size)) r.valid = false;
    held |= r.valid && r.address / page_size == address.value / page_size;
  }
  if (!held) bus.ram(address)->flags(address) &= ~page_reserved;
}

}  // namespace rvvm
