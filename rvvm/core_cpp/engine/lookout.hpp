// What the thread that called run sleeps by: a bell, and files of the host's that somebody waits
// for.
#pragma once
#include <poll.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

namespace rvvm {

class Lookout {
 public:
  Lookout();
  ~Lookout();
  Lookout(const Lookout&) = delete;

  // From any thread. What comes before a sleep is not lost.
  void ring();
  // From any thread. Once the file can be read, or has ended, look() says so, once.
  void watch(int file);
  bool watches() const { return watches_.load(std::memory_order_relaxed); }

  // The files that are ready; sleeps until there is one, a ring, or so much time has passed. By the
  // thread that runs.
  const std::vector<int>& look(std::chrono::nanoseconds longest);

 private:
  void poll_files(std::chrono::nanoseconds longest);
  void take_ready();

  const int alarm_;  // what wakes the sleeper
  std::atomic<bool> asleep_{false}, rung_{false}, watches_{false};
  std::mutex mutex_;
  std::vector<pollfd> files_;
  std::vector<pollfd> polled_;  // those, and the alarm
  std::vector<int> ready_;
};

}  // namespace rvvm
