#include "engine/jit/workshop.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <chrono>
#include <csignal>
#include <utility>

namespace rvvm::jit {

namespace {

constexpr auto between_looks = std::chrono::microseconds(100);
constexpr unsigned most_looks = 50;

// A number that is another one in each child process.
unsigned processes() {
  static std::atomic<unsigned> forks{0};
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, [] { ++forks; });
  return forks;
}

// Signals are for the threads that wait for them.
std::thread start_without_signals(std::function<void()> work) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread{std::move(work)};
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

Workshop::Workshop(std::function<void(Unit&)> translate)
    : translate_{std::move(translate)},
      process_{processes()},
      thread_{start_without_signals([this] { work(); })} {}

bool Workshop::here() const { return process_ == processes(); }

Workshop::~Workshop() {
  ending_ = true;
  wake();
  thread_.join();
}

void Workshop::wake() {
  if (asleep_.exchange(false)) asleep_.notify_one();
}

bool Workshop::ask(Job&& job) {
  const u64 number = asked_.load(std::memory_order_relaxed);
  if (number - taken_ == most_jobs) return false;
  at(number) = std::move(job);
  asked_ = number + 1;
  if (asleep_) wake();
  return true;
}

void Workshop::clear_ahead(u8* ram_part) {
  fresh_ = ram_part;
  if (asleep_) wake();
}

// Nothing is lost where the host refuses: RAM gets its memory when it is stored to.
void Workshop::clear_fresh() {
  if (u8* part = fresh_.exchange(nullptr)) madvise(part, Ram::part, MADV_POPULATE_WRITE);
}

void Workshop::finish() const {
  while (done_ != asked_) std::this_thread::yield();
}

void Workshop::clear() {
  cancelled_ = true;
  finish();
  cancelled_ = false;
  taken_ = done_;
}

// Jobs come in crowds: it looks for the next one itself for a while, for to wake it costs the other
// thread more than the job.
void Workshop::wait_for_work() {
  for (unsigned looks = 0; looks < most_looks; ++looks) {
    if (wanted()) return;
    std::this_thread::sleep_for(between_looks);
  }
  asleep_ = true;
  if (!wanted()) asleep_.wait(true);
  asleep_ = false;
}

void Workshop::work() {
  while (!ending_) {
    for (u64 number = done_; number != asked_; done_ = ++number) {
      if (cancelled_) continue;
      clear_fresh();
      at(number).cache->prepare();
      translate_(at(number).unit);
    }
    clear_fresh();
    wait_for_work();
  }
}

}  // namespace rvvm::jit
