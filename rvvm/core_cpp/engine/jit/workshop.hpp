// A thread that translates while the hart goes on interpreting. Pages, blocks and ways belong to
// the hart's thread alone: it hands in what is to be translated, and takes back what has been.
#pragma once
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "engine/jit/unit.hpp"

namespace rvvm::jit {

struct Job {
  Unit unit;
  CodeCache* cache = nullptr;
  Hpa page;
  u64 serial = 0;  // of the page: it may be another one when the job is done
  u64 pc = 0;
};

// The jobs are a ring: the hart's thread writes what is asked for, the other one translates it
// where it is, and the hart's thread takes it from there.
class Workshop {
 public:
  // Calls `translate` in its thread.
  explicit Workshop(std::function<void(Unit&)> translate);
  ~Workshop();
  Workshop(const Workshop&) = delete;

  // Not in a child process, where the thread is not.
  bool here() const;
  bool ask(Job&& job);  // false, and nothing, while there is enough to do
  bool any_done() const { return done_.load(std::memory_order_acquire) != taken_; }
  // Calls f with each job that has been done.
  template <class F> void take_done(F f) {
    for (const u64 end = done_.load(std::memory_order_acquire); taken_ != end; ++taken_)
      f(at(taken_));
  }
  void finish() const;  // waits until all is done
  // Before it goes on it has the host clear this part of guest RAM, if it has no memory yet.
  void clear_ahead(u8* ram_part);
  // Waits for what it is at; the rest is given up, done or not.
  void clear();

 private:
  static constexpr std::size_t most_jobs = 1024;
  Job& at(u64 number) { return jobs_[number % most_jobs]; }
  bool wanted() const { return ending_ || asked_ != done_ || fresh_; }
  void clear_fresh();
  void work();
  void wait_for_work();
  void wake();

  std::function<void(Unit&)> translate_;
  std::vector<Job> jobs_{most_jobs};
  std::atomic<u64> asked_{0}, done_{0};  // how many, ever
  u64 taken_ = 0;
  std::atomic<u8*> fresh_{nullptr};
  std::atomic<bool> cancelled_{false}, asleep_{false}, ending_{false};
  unsigned process_;
  std::thread thread_;
};

}  // namespace rvvm::jit
