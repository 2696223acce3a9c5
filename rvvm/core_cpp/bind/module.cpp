// rvvm._core: one binding function a room.
#include <pybind11/pybind11.h>

namespace rvvm {
void bind_isa(pybind11::module_& m);
void bind_csrs(pybind11::module_& m);
void bind_softfloat(pybind11::module_& m);
void bind_hart(pybind11::module_& m);
void bind_system(pybind11::module_& m);
void bind_lockstep(pybind11::module_& m);
void bind_moments(pybind11::module_& m);
}  // namespace rvvm

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of rvvm.";
  rvvm::bind_isa(m);
  rvvm::bind_csrs(m);
  rvvm::bind_softfloat(m);
  rvvm::bind_hart(m);
  rvvm::bind_system(m);
  rvvm::bind_lockstep(m);
  rvvm::bind_moments(m);
}
