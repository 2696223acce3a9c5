// What a thread sleeps by. A ring that comes before the sleep is not lost.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace rvvm {

class Bell {
 public:
  void ring() {
    std::lock_guard lock(mutex_);
    rung_ = true;
    changed_.notify_one();
  }
  void sleep(std::chrono::nanoseconds longest) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, longest, [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

}  // namespace rvvm
