// What Python holds: a system, and harts that keep it alive.
#pragma once
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>

#include "engine/system.hpp"

namespace rvvm {

// A System with the Python callables it calls and the error one of them may have left.
struct SystemFace {
  SystemFace(Clock clock, std::unique_ptr<Interpreter> engine, const char* accel, bool threads)
      : system{clock, std::move(engine), threads}, accel{accel} {
    // Python keeps what it knows of a thread that has called it: making that anew costs 20 us.
    system.around_thread = [](const std::function<void()>& live) {
      const pybind11::gil_scoped_acquire known;
      const pybind11::gil_scoped_release nogil;
      live();
    };
  }

  System system;
  const char* const accel;  // what the engine is called
  std::vector<pybind11::object>
      callables;  // devices and watches: visible to Python's garbage collector
  std::optional<pybind11::error_already_set> error;
  bool writable_view = false;  // somebody may write RAM behind the core's back

  // Calls into Python from a running hart; an error stops the run, which raises it.
  template <class Result, class... Args>
  Result call(std::size_t callable, Result otherwise, Args... args) {
    const World::Outside outside{system.world};  // who has the GIL may wait for the harts
    pybind11::gil_scoped_acquire gil;
    if (error) return otherwise;
    try {
      pybind11::object result = callables[callable](args...);
      if constexpr (std::is_same_v<Result, u64>) return pybind11::cast<u64>(result);
    } catch (pybind11::error_already_set& e) {
      error.emplace(std::move(e));
    } catch (const pybind11::cast_error&) {
      error.emplace(type_error());
    }
    if (error) system.halt(0);
    return otherwise;
  }
  static pybind11::error_already_set type_error();
  Exit finish(Exit exit);  // raises what a callable has raised, or what a check has found
};

struct HartFace {
  std::shared_ptr<SystemFace> owner;
  unsigned index;
  Cpu& cpu() const { return owner->system.hart(index); }
  Hart& hart() const { return cpu().hart; }
};

}  // namespace rvvm
