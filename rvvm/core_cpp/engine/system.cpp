#include "engine/system.hpp"

#include <algorithm>
#include <cstring>
#include <future>

#include "engine/commit_log.hpp"

namespace rvvm {

namespace {

constexpr u64 worth_threads = 1'000'000;        // a budget below this is used up in turns
constexpr std::size_t most_dropped_pages = 64;  // that wait until no hart can be inside one

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

}  // namespace

Observers::Observers() = default;
Observers::~Observers() = default;
bool Observers::any() const { return log || !breakpoints.empty() || !watchpoints.empty(); }

System::System(Clock clock, std::unique_ptr<Interpreter> engine, bool threads)
    : clock{clock},
      engine_{std::move(engine)},
      threads_{threads && !clock.by_instructions && engine_->may_thread()} {}
System::~System() = default;

CodeCache& System::code_for(ExtSet extensions) {
  for (auto& [set, cache] : code_)
    if (set == extensions) return *cache;
  code_.emplace_back(extensions, std::make_unique<CodeCache>(bus, extensions, code_mutex_));
  return *code_.back().second;
}

Cpu& System::add_hart(u64 hart_id, ExtSet extensions, u64 reset_pc) {
  CodeCache& code = code_for(extensions);
  cpus_.push_back(std::make_unique<Cpu>(bus, *this, code, hart_id, extensions, reset_pc, clock));
  world.add(*cpus_.back());
  reservations_.add_hart();
  forget_code();  // it may have been made for a hart that is alone
  for (auto& cpu : cpus_) cpu->threads = threaded();
  if (check_translations_) check_translations();
  return *cpus_.back();
}

// ---- Running

Exit System::run(u64 budget, const Poll& poll) {
  if (cpus_.empty()) return {};
  const Exit exit = run_harts(budget, poll);
  do_chores();
  look();
  return exit;
}

Exit System::run_harts(u64 budget, const Poll& poll) {
  while (threaded() && !observers.any() && budget >= worth_threads)
    if (const auto exit = threads_run_.run(budget, poll)) return *exit;
  return turns_.run(budget, poll);
}

Exit System::step(unsigned index, u64 count, const Poll& poll) {
  const Exit exit = turns_.step(index, count, poll);
  do_chores();
  return exit;
}

bool System::code_to_collect() const {
  return engine_->full() || std::ranges::any_of(code_, [](const auto& code) {
           return code.second->full() || code.second->dropped() >= most_dropped_pages;
         });
}

void System::collect_code() {
  const auto full = [](const auto& code) { return code.second->full(); };
  if (engine_->full() || std::ranges::any_of(code_, full)) forget_code();
  std::lock_guard lock(code_mutex_);
  for (auto& [set, cache] : code_) cache->collect();
}

void System::look(std::chrono::nanoseconds longest) {
  const std::vector<int>& ready = lookout.look(longest);
  if (!ready.empty()) files_ready(ready);
}

// ---- From outside

void System::end_run() {
  world.end_run();
  for (auto& cpu : cpus_) cpu->bell.ring();
  lookout.ring();
}

void System::pause() {
  requests.pause();
  end_run();  // at the next block, not at the turn's end
}

void System::halt(u64 code) {
  const Cpu* here = world.here();
  const auto is_here = [here](const auto& cpu) { return cpu.get() == here; };
  const auto index = std::ranges::find_if(cpus_, is_here) - cpus_.begin();
  requests.halt(code, here ? static_cast<unsigned>(index) : turns_.turn().hart);
  end_run();
}

void System::wires_changed(Cpu& cpu) {
  cpu.raise_attention();
  if (clock.by_instructions) tell_across(cpu);
  if (threads_run_.running())
    cpu.bell.ring();
  else
    lookout.ring();
}

// What one hart does to another is seen at the same time there.
void System::tell_across(Cpu& to) {
  Cpu* here = world.here();
  if (!here) return turns_.call(to);
  if (here == &to) return;
  if (to.hart.waiting) to.hart.pass_to(here->hart.elapsed());
  here->end_turn();
}

void System::reset() {
  world.alone([this] {
    for (auto& cpu : cpus_) cpu->reset();
    turns_.reset();
  });
}

u64 System::time() const {
  if (!clock.by_instructions) return clock.now(0);
  const Cpu* here = world.here();
  return clock.now(here ? here->hart.elapsed() : turns_.reached());
}

void System::set_time(u64 value) {
  world.alone([&] {
    clock.offset += value - time();
    for (auto& cpu : cpus_) cpu->raise_attention();
    if (Cpu* here = world.here(); here && clock.by_instructions && cpus_.size() > 1)
      here->end_turn();
  });
  for (auto& cpu : cpus_) cpu->bell.ring();  // deadlines are nearer or farther now
}

// What a long turn's end would be.
void System::put_off() {
  if (clock.by_instructions) {
    Cpu* here = world.here();
    const u64 now = here ? here->hart.elapsed() : turns_.reached();
    chores_at_ = std::min(chores_at(), (now / turn_instructions + 1) * turn_instructions);
    if (here) {
      here->plan_asked = true;
      here->raise_attention();
    }
  }
  chores_due_ = true;
}

void System::do_due_chores() {
  if (clock.by_instructions && chores_at() > turns_.reached()) return;
  chores_at_ = Clock::never;
  if (chores_due_.exchange(false)) chores();
}

void System::set_alarm(u64 time) {
  clock.alarm = time;
  for (auto& cpu : cpus_) cpu->raise_attention();  // what they were given may end later
}

void System::refresh_observers() {
  for (auto& cpu : cpus_) {
    cpu->mmu.uncached = observers.any();
    cpu->mmu.clear();
    cpu->mmu.refresh();
    cpu->code_changed();
  }
}

void System::lose(Disturbance::Loss loss) {
  using enum Disturbance::Loss;
  if (loss == code) forget_code();
  for (auto& cpu : cpus_) {
    if (loss == translations) {
      cpu->mmu.clear();
      cpu->mmu.refresh();
    }
    if (loss == ways) cpu->forget_ways();
    if (loss != none) cpu->code_changed();
  }
}

void System::check_translations() {
  check_translations_ = true;
  for (auto& cpu : cpus_) {
    cpu->mmu.checked = true;
    cpu->mmu.refresh();
  }
}

void System::translation_differs(const StaleTranslation& found) {
  world.alone([&] {
    if (!stale_) stale_ = found;
  });
  pause();
}

void System::watch_stores(StoreWatch watch) {
  // No cached translation may bypass the watch.
  observe([&](Observers&) { bus.watch_stores(std::move(watch)); });
}

void System::stop_on_traps(const std::set<u64>& causes) {
  world.alone([&] {
    stop_causes_[0] = stop_causes_[1] = 0;
    for (u64 cause : causes) stop_causes_[cause >> 63] |= u64{1} << (cause & 63);
    for (auto& cpu : cpus_) cpu->stop_causes = causes.empty() ? nullptr : stop_causes_;
  });
}

CodeCache::Stats System::code_stats() {
  CodeCache::Stats sum;
  std::lock_guard lock(code_mutex_);
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

// A kernel's worth by two threads: most of the time the host clears memory that is new.
static void copy(u8* to, const u8* from, u64 size) {
  constexpr u64 large = u64{8} << 20;
  if (size < large) return void(std::memcpy(to, from, size));
  const auto either = std::launch::async | std::launch::deferred;
  const auto first = std::async(either, std::memcpy, to, from, size / 2);
  std::memcpy(to + size / 2, from + size / 2, size - size / 2);
  first.wait();
}

bool System::write(u64 address, const u8* data, u64 size) {
  u8* host = bus.host(Hpa{address}, size);
  if (!host) return false;
  copy(host, data, size);
  written(address, size);
  return true;
}

bool System::discard(u64 address, u64 size) {
  Ram* ram = bus.ram(Hpa{address}, size);
  if (!ram || (address | size) & page_mask) return false;
  ram->discard(Hpa{address}, size);
  written(address, size);
  return true;
}

void System::written(u64 address, u64 size) {
  if (!size) return;
  // Against a hart that flags a page and then reads code from it: one of us sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  code_written(Hpa{address}, size);
  break_reservations(address, size);
}

// ---- Moments

MemoryImage System::image(bool to_share) {
  MemoryImage image;
  world.alone([&] {
    for (const auto& ram : bus.rams()) image.rams.push_back(ram->image(to_share));
  });
  return image;
}

bool System::become(const MemoryImage& image) {
  const auto fits = [](const RamImage& i, const auto& ram) {
    return i.base->size() == ram->size();
  };
  if (!std::ranges::equal(image.rams, bus.rams(), fits)) return false;
  world.alone([&] {
    for (std::size_t k = 0; k < image.rams.size(); ++k) {
      Ram& ram = *bus.rams()[k];
      if (const auto changed = ram.become(image.rams[k]))
        drop_changed(ram, *changed);
      else
        forget_code();
    }
    reservations_.release_all([](u64) {});
    for (auto& cpu : cpus_) cpu->replaced();
  });
  return true;
}

void System::drop_changed(Ram& ram, const std::vector<u32>& pages) {
  for (const u32 page : pages) {
    const Hpa at{ram.base() + page * page_size};
    if (ram.flags(at) & page_has_code) drop_code(at, page_size);
  }
}

Progress System::progress() {
  turns_.answer();
  return {clock.moment(), turns_.turn(), chores_at()};
}

void System::resume(const Progress& progress) {
  world.alone([&] {
    clock.resume(progress.clock);
    turns_.resume(progress.turn);
    chores_due_ = false;  // devices put off anew what they have
    chores_at_ = progress.chores;
  });
}

void System::replace(Cpu& cpu, const Hart& state, const Wires& pins) {
  world.alone([&] {
    cpu.hart = state;
    Reservation& held = cpu.hart.reservation;
    held.valid &= bus.ram(Hpa{held.address}, held.width) != nullptr;
    cpu.pins.interrupts = pins.interrupts;
    cpu.pins.guest_external = pins.guest_external;
    cpu.pins.timer = pins.timer;
    cpu.replaced();
    guard_reservation(cpu);
  });
}

void System::forget_ram() {
  forget_code();
  for (auto& cpu : cpus_) {
    Reservation& r = cpu->hart.reservation;
    const u8* at = bus.host(Hpa{r.address}, r.width);
    if (r.valid && std::memcmp(at, &r.value, r.width)) r.valid = false;
  }
}

void System::forget_code() {
  std::lock_guard lock(code_mutex_);
  for (auto& [set, cache] : code_) cache->clear();
  engine_->forget();
  if (threaded()) engine_->code_dropped();
  for (auto& cpu : cpus_) {
    cpu->forget_ways();
    cpu->code_changed();
  }
}

// A store that has found no flag has ended before harts stop, and no translation that allows one
// is left when they go on.
void System::code_translated(Hpa page) {
  world.alone([&] {
    const u8 before = bus.ram(page)->flags(page).fetch_or(page_has_code);
    if (before & page_writable) forget_writable(page);
  });
}

void System::forget_writable(Hpa page) {
  bus.ram(page)->flags(page) &= static_cast<u8>(~page_writable);
  const u8* host = bus.host(Hpa{page.value & ~page_mask}, page_size);
  for (auto& cpu : cpus_) cpu->mmu.tlb.forget_writable(host);
}

void System::code_written(Hpa address, u64 size) {
  bool covered = false, held = false;
  {
    std::lock_guard lock(code_mutex_);
    for (auto& [set, cache] : code_) {
      covered |= cache->covers(address, size);
      held |= cache->holds(address);
    }
    if (!held) bus.ram(address)->flags(address) &= ~page_has_code;
  }
  if (covered) world.alone([&] { drop_code(address, size); });
}

void System::drop_code(Hpa address, u64 size) {
  bool held = false;
  std::lock_guard lock(code_mutex_);
  for (auto& [set, cache] : code_) {
    cache->written(address, size);
    held |= cache->holds(address);
  }
  if (!held) bus.ram(address)->flags(address) &= ~page_has_code;
  if (threaded()) engine_->code_dropped();
  for (auto& cpu : cpus_) cpu->code_changed();
}

// ---- Reservations

unsigned System::index_of(const Hart* hart) const {
  const auto is = [hart](const auto& cpu) { return &cpu->hart == hart; };
  const auto found = std::ranges::find_if(cpus_, is);
  return found == cpus_.end() ? Reservations::nobody : static_cast<unsigned>(found - cpus_.begin());
}

void System::flag_reserved(Hpa page, bool on) {
  std::atomic<u8>& flags = bus.ram(page)->flags(page);
  if (on)
    flags |= page_reserved;
  else
    flags &= static_cast<u8>(~page_reserved);
}

// Page flags do not guard reservations of harts on threads.
void System::run_concurrently(bool on) {
  for (auto& cpu : cpus_) {
    cpu->concurrent = on;
    if (on && cpu->hart.reservation.proof == Proof::flag) cpu->hart.reservation.valid = false;
  }
}

// While others have their turn, stores near this hart's reservation must be seen. It keeps its own
// entries for stores there: they go when another hart has a reservation on the page, too.
void System::guard_reservation(const Cpu& cpu) {
  const Reservation& r = cpu.hart.reservation;
  if (!r.valid || cpus_.size() == 1 || r.proof != Proof::flag) return;
  const Hpa at{r.address};
  const u64 page = r.address / page_size;
  std::atomic<u8>& flags = bus.ram(at)->flags(at);
  if (flags & page_reserved) {
    if ((flags & page_writable) && !reservations_.owns(page, cpu)) forget_writable(at);
    return;
  }
  flag_reserved(at, true);
  reservations_.own(page, cpu);
  const u8* host = bus.host(Hpa{r.address & ~page_mask}, page_size);
  for (auto& other : cpus_)
    if (other.get() != &cpu) other->mmu.tlb.forget_writable(host);
}

u64 System::reserve(const Hart& by, Hpa address, u8 width) {
  std::atomic<u8>& flags = bus.ram(address)->flags(address);
  while (true) {
    if (!(flags & page_reserved)) {
      world.alone([&] {
        flag_reserved(address, true);
        forget_writable(address);
      });
      cpus_[index_of(&by)]->raise_attention();  // its unit may have kept the page for stores
    }
    std::lock_guard lock(reservations);
    if (!(flags & page_reserved)) continue;  // given up meanwhile, after many stores
    if (reservations_.full()) {
      reservations_.release_all(
          [this](u64 number) { flag_reserved(Hpa{number * page_size}, false); });
      continue;
    }
    reservations_.hold(index_of(&by), address.value, width);
    return shared::load(bus.host(address, width), width);
  }
}

void System::reserved_written(const Hart* by, Hpa address, u64 size) {
  reservations_.written(index_of(by), address.value, size);
  std::atomic<u8>& flags = bus.ram(address)->flags(address);
  const u64 page = address.value / page_size;
  if (threads_run_.running()) {
    if (!(flags & page_reserved) || !reservations_.idle(page)) return;
    reservations_.release(page);
    flag_reserved(address, false);
    return;
  }
  bool held = false;
  for (auto& cpu : cpus_) {
    Reservation& r = cpu->hart.reservation;
    if (r.proof != Proof::flag) continue;
    if (&cpu->hart != by && overlap(r.address, r.width, address.value, size)) r.valid = false;
    held |= r.valid && r.address / page_size == page;
  }
  if (held) return;
  reservations_.release(page);
  reservations_.disown(page);
  flag_reserved(address, false);
}

// By a device or from outside: on no hart's account.
void System::break_reservations(u64 address, u64 size) {
  std::lock_guard lock(reservations);
  reserved_written(nullptr, Hpa{address}, size);
}

}  // namespace rvvm
