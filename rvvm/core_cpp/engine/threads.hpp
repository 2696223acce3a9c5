// A host thread a hart, all at once.
#pragma once
#include <exception>

#include "engine/turns.hpp"

namespace rvvm {

class Threads {
 public:
  explicit Threads(System& system) : system{system} {}

  // `budget` is what all harts together may retire, and afterwards what they have left. Nothing
  // when the run ended without a reason to tell: harts are to go on in another way.
  std::optional<Exit> run(u64& budget, const Poll& poll);
  bool running() const { return running_; }

 private:
  template <class Act> void attempt(Act act);
  void hart_thread(unsigned index);
  Exit execute(Cpu& cpu, u64& budget, std::chrono::nanoseconds& sleep);
  u64 claim();
  void give_back(u64 unused);
  void finish(const Exit& exit);

  System& system;

  std::atomic<bool> running_{false};

  // Of one run.
  std::mutex mutex_;
  std::condition_variable given_back_;
  u64 left_ = 0;           // of the budget, and nobody's
  unsigned claimers_ = 0;  // who have some of it
  std::optional<Exit> exit_;
  std::exception_ptr failure_;
  std::atomic<unsigned> barren_{0};
};

}  // namespace rvvm
