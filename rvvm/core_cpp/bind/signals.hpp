// Python's signal handlers while the core runs. Python calls them in its main thread, in whatever
// code that is at: in a device as well, whose request would then be half done and lost.
#pragma once
#include <pybind11/pybind11.h>

namespace rvvm {

// While it lives, handlers that are functions of Python's wait: signals are noted. In other threads
// than Python's main thread it does nothing, for handlers are not called there. It nests.
class DeferredSignals {
 public:
  DeferredSignals();  // may raise what a handler raises, and then it was never there
  // Calls the handlers that are due, unless another one is around this. May raise.
  void leave();
  ~DeferredSignals();  // for who has not left: what a handler raises is only told
  DeferredSignals(const DeferredSignals&) = delete;

  // Calls them in between, where nothing is half done. May raise.
  static void poll();

 private:
  bool active_;
};

}  // namespace rvvm
