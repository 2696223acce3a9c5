#include "engine/jit/workshop.hpp"

#include <pthread.h>

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
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

bool Workshop::ask(Job&& job) {
  std::lock_guard lock(mutex_);
  if (asked_.size() >= most_jobs) return false;
  asked_.push_back(std::move(job));
  if (asleep_) changed_.notify_all();
  return true;
}

std::vector<Job> Workshop::take_done() {
  std::lock_guard lock(mutex_);
  any_done_.store(false, std::memory_order_relaxed);
  return std::exchange(done_, {});
}

void Workshop::clear() {
  std::unique_lock lock(mutex_);
  asked_.clear();
  changed_.wait(lock, [this] { return !busy_; });
  done_.clear();
  any_done_ = false;
}

// Jobs come in crowds: it looks for the next one itself for a while, for to wake it costs the other
// thread more than the job.
void Workshop::wait_for_work(std::unique_lock<std::mutex>& lock) {
  const auto wanted = [this] { return ending_ || !asked_.empty(); };
  for (unsigned looks = 0; looks < most_looks && !wanted(); ++looks)
    changed_.wait_for(lock, between_looks);
  asleep_ = true;
  changed_.wait(lock, wanted);
  asleep_ = false;
}

void Workshop::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    busy_ = false;
    changed_.notify_all();
    wait_for_work(lock);
    if (ending_) return;
    busy_ = true;
    while (!asked_.empty()) {
      Job job = std::move(asked_.front());
      asked_.pop_front();
      lock.unlock();
      translate_(job.unit);
      lock.lock();
      done_.push_back(std::move(job));
      any_done_.store(true, std::memory_order_release);
    }
  }
}

}  // namespace rvvm::jit
