// Where the core works without Python's interpreter lock.
#pragma once
#include <pybind11/pybind11.h>

#include <optional>

namespace rvvm {

// Without the GIL, while it lives. Python's end waits for it: a thread that asks for the GIL after
// that is ended by Python, and the process with it where the thread has frames of C++. One that
// comes after that sleeps until the process is gone.
class NoGil {
 public:
  NoGil();
  ~NoGil();
  NoGil(const NoGil&) = delete;

 private:
  std::optional<pybind11::gil_scoped_release> released_;
};

// Before Python ends: nobody is in the core any more when it returns. `stop` asks runs to end.
void end_core_calls(void (*stop)());

}  // namespace rvvm
