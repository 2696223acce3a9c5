// Two systems beside each other, as Python sees it.
#include "engine/lockstep.hpp"

#include <pybind11/stl.h>

#include "bind/faces.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

using Ranges = std::vector<std::pair<u64, u64>>;

std::optional<std::size_t> run_both(SystemFace& one, SystemFace& other,
                                    const std::vector<u64>& budgets, const Ranges& memory) {
  std::vector<MemoryRange> ranges;
  for (const auto& [address, size] : memory) ranges.push_back({address, size});
  std::optional<std::size_t> found;
  {
    System &first = one.paused(), &second = other.paused();
    const SystemFace::Running here{one};
    std::optional<SystemFace::Running> there;
    if (&other != &one) there.emplace(other);
    const NoGil nogil;
    found = lockstep(first, second, budgets, ranges);
  }
  for (SystemFace* face : {&one, &other}) face->finish({});
  return found;
}

}  // namespace

void bind_lockstep(py::module_& m) {
  m.def("lockstep", &run_both, py::arg("one"), py::arg("other"), py::arg("budgets"),
        py::arg("memory"));
}

}  // namespace rvvm
