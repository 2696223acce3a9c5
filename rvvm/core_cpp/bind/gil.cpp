#include "bind/gil.hpp"

#include <unistd.h>

#include <chrono>
#include <thread>

namespace py = pybind11;

namespace rvvm {
namespace {

constexpr auto patience = std::chrono::seconds(10);  // for a device that waits for something

// All under the GIL. A child of fork() has none of the other threads.
struct Calls {
  unsigned inside = 0;
  int process = 0;
  unsigned long ending = 0;  // the thread in which Python ends
} calls;

}  // namespace

NoGil::NoGil() {
  if (calls.process != ::getpid()) calls = {0, ::getpid(), 0};
  const bool late = calls.ending && calls.ending != PyThread_get_thread_ident();
  if (!late) ++calls.inside;
  released_.emplace();
  while (late) ::pause();
}

NoGil::~NoGil() {
  released_.reset();
  --calls.inside;
}

void end_core_calls(void (*stop)()) {
  if (calls.process != ::getpid()) return;
  calls.ending = PyThread_get_thread_ident();
  stop();
  const auto end = std::chrono::steady_clock::now() + patience;
  while (calls.inside && std::chrono::steady_clock::now() < end) {
    const py::gil_scoped_release nogil;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace rvvm
