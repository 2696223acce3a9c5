// rvvm._core: one binding function a room.
#include <pybind11/pybind11.h>

#include <system_error>

namespace rvvm {
void bind_isa(pybind11::module_& m);
void bind_csrs(pybind11::module_& m);
void bind_softfloat(pybind11::module_& m);
void bind_hart(pybind11::module_& m);
void bind_system(pybind11::module_& m);
void bind_lockstep(pybind11::module_& m);
void bind_moments(pybind11::module_& m);
void bind_signals(pybind11::module_& m);

// What the host refuses is an OSError: its number, and what it was about.
static void translate(std::exception_ptr raised) {
  try {
    std::rethrow_exception(raised);
  } catch (const std::system_error& error) {
    const pybind11::object what =
        pybind11::make_tuple(error.code().value(), pybind11::str(error.what()));
    PyErr_SetObject(PyExc_OSError, what.ptr());
  }
}
}  // namespace rvvm

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of rvvm.";
  pybind11::register_local_exception_translator(rvvm::translate);
  rvvm::bind_isa(m);
  rvvm::bind_csrs(m);
  rvvm::bind_softfloat(m);
  rvvm::bind_hart(m);
  rvvm::bind_system(m);
  rvvm::bind_lockstep(m);
  rvvm::bind_moments(m);
  rvvm::bind_signals(m);
}
