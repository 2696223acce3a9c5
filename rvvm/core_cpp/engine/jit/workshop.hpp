// A thread that translates while the hart goes on interpreting. Pages, blocks and ways belong to
// the hart's thread alone: it hands in what is to be translated, and takes back what has been.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/jit/unit.hpp"

namespace rvvm::jit {

struct Job {
  Unit unit;
  CodeCache* cache;
  Hpa page;
  u64 serial;  // of the page: it may be another one when the job is done
  u64 pc;
};

class Workshop {
 public:
  // Calls `translate` in its thread.
  explicit Workshop(std::function<void(Unit&)> translate);
  ~Workshop();
  Workshop(const Workshop&) = delete;

  bool ask(Job&& job);  // false, and nothing, while there is enough to do
  // Not in a child process, where the thread is not.
  bool here() const;
  bool any_done() const { return any_done_.load(std::memory_order_acquire); }
  std::vector<Job> take_done();
  // Waits for what it is at; the rest is given up, done or not.
  void clear();

 private:
  static constexpr std::size_t most_jobs = 1024;
  void work();
  void wait_for_work(std::unique_lock<std::mutex>& lock);

  std::function<void(Unit&)> translate_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> asked_;
  std::vector<Job> done_;
  std::atomic<bool> any_done_{false};
  bool busy_ = false, asleep_ = false, ending_ = false;
  unsigned process_;
  std::thread thread_;
};

}  // namespace rvvm::jit
