#include "bind/signals.hpp"

#include <array>
#include <csignal>
#include <exception>
#include <optional>
#include <vector>

#include "bind/faces.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

// Of Python's main thread: it alone sets handlers, and it alone is called by them.
struct Deferral {
  struct Taken {
    int number;
    py::object handler;
  };
  unsigned depth = 0;
  unsigned long thread = 0;
  std::vector<Taken> taken;
  std::array<bool, NSIG> due{};
  bool any_due = false;
};

// Never destroyed: Python may have ended by then.
Deferral& deferral() {
  static auto* const the = new Deferral;
  return *the;
}

PyObject* note(PyObject*, PyObject* arguments) {
  int number;
  PyObject* frame;
  if (!PyArg_ParseTuple(arguments, "iO", &number, &frame)) return nullptr;
  if (number <= 0 || number >= NSIG) return PyErr_Format(PyExc_ValueError, "no signal");
  Deferral& d = deferral();
  d.due[static_cast<std::size_t>(number)] = d.any_due = true;
  Py_RETURN_NONE;
}

// Of Python's modules, imported once. The module signal makes enumerators of handlers, which takes
// ten times as long.
struct Modules {
  py::object getsignal, setsignal, main_thread, note;
  Modules() {
    static PyMethodDef method{"deferred", &rvvm::note, METH_VARARGS,
                              "Notes a signal; its handler is called later."};
    const py::module_ signal = py::module_::import("_signal");
    getsignal = signal.attr("getsignal");
    setsignal = signal.attr("signal");
    main_thread = py::module_::import("threading").attr("main_thread");
    note = py::reinterpret_steal<py::object>(PyCFunction_New(&method, nullptr));
  }
};

Modules& modules() {
  static auto* const the = new Modules;
  return *the;
}

bool in_main_thread() {
  const py::object ident = modules().main_thread().attr("ident");
  return !ident.is_none() && ident.cast<unsigned long>() == PyThread_get_thread_ident();
}

void give_back();

// A handler that somebody else has set stays. Python calls handlers that are due before it changes
// one: what they raise is raised when all are back.
void give_back() {
  Modules& python = modules();
  std::exception_ptr raised;
  for (const auto& [number, handler] : std::exchange(deferral().taken, {}))
    for (bool done = false; !done;) try {
        if (python.getsignal(number).is(python.note)) python.setsignal(number, handler);
        done = true;
      } catch (const py::error_already_set&) {
        if (!raised) raised = std::current_exception();
      }
  if (raised) std::rethrow_exception(raised);
}

// Each handler that is a function of Python's gives its place to one that notes: all, or none when
// one raises.
void take() {
  Modules& python = modules();
  try {
    for (int number = 1; number < NSIG; ++number) {
      py::object handler = python.getsignal(number);
      if (!PyCallable_Check(handler.ptr()) || handler.is(python.note)) continue;
      python.setsignal(number, python.note);
      deferral().taken.push_back({number, std::move(handler)});
    }
  } catch (const py::error_already_set&) {
    const std::exception_ptr raised = std::current_exception();
    try {
      give_back();
    } catch (const py::error_already_set&) {  // the first counts
    }
    std::rethrow_exception(raised);
  }
}

// Calls what is due; after one that raises the others are due again. Meanwhile handlers are where
// the program has put them, and it may put others there.
void call_due() {
  Deferral& d = deferral();
  std::vector<Deferral::Taken> due;
  for (const auto& each : d.taken)
    if (std::exchange(d.due[static_cast<std::size_t>(each.number)], false)) due.push_back(each);
  d.any_due = false;
  auto next = due.begin();
  try {
    give_back();
    while (next != due.end()) {
      const auto& [number, handler] = *next++;
      PyObject* frame = reinterpret_cast<PyObject*>(PyEval_GetFrame());
      handler(number, py::reinterpret_borrow<py::object>(frame ? frame : Py_None));
    }
  } catch (const py::error_already_set&) {
    for (; next != due.end(); ++next) PyErr_SetInterruptEx(next->number);
    throw;
  }
}

}  // namespace

DeferredSignals::DeferredSignals() : active_{false} {
  Deferral& d = deferral();
  const unsigned long here = PyThread_get_thread_ident();
  if (d.depth == 0) {
    if (!in_main_thread()) return;
    take();
    d.thread = here;
  } else if (d.thread != here) {
    return;
  }
  ++d.depth;
  active_ = true;
}

void DeferredSignals::leave() {
  if (!std::exchange(active_, false)) return;
  if (--deferral().depth == 0) call_due();
}

DeferredSignals::~DeferredSignals() {
  if (!active_) return;
  try {
    leave();
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("a signal's handler");
  }
}

void DeferredSignals::poll() {
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  Deferral& d = deferral();
  if (!d.any_due || d.depth == 0 || d.thread != PyThread_get_thread_ident()) return;
  std::exception_ptr raised;
  const auto attempt = [&raised](void (*act)()) {
    try {
      act();
      return true;
    } catch (const py::error_already_set&) {
      if (!raised) raised = std::current_exception();
      return false;
    }
  };
  attempt(call_due);
  while (!attempt(take)) {}
  if (raised) std::rethrow_exception(raised);
}

namespace {

// For `with`.
struct DeferredBlock {
  std::optional<DeferredSignals> deferred;
};

}  // namespace

void bind_signals(py::module_& m) {
  py::class_<DeferredBlock>(m, "DeferredSignals")
      .def(py::init<>())
      .def("__enter__", [](DeferredBlock& block) { block.deferred.emplace(); })
      .def("__exit__", [](DeferredBlock& block, const py::args&) { block.deferred->leave(); });
  py::module_::import("atexit").attr("register")(
      py::cpp_function([] { end_core_calls(&SystemFace::stop_all); }));
}

}  // namespace rvvm
