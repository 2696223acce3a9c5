// What Python holds: a system, and harts that keep it alive.
#pragma once
#include <unistd.h>

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

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
    system.chores = [this] { do_deferred(); };
    system.files_ready = [this](const std::vector<int>& files) { tell_watchers(files); };
  }

  // To change it or to run it: translated code is memory that a child process has not.
  System& own() {
    if (::getpid() == process) return system;
    throw std::runtime_error("a machine runs in the process that made it, not in its child");
  }

  System system;
  const int process = ::getpid();
  const char* const accel;  // what the engine is called
  std::vector<pybind11::object>
      callables;  // devices and watches: visible to Python's garbage collector
  std::vector<pybind11::object> deferred;  // and these, which are called once
  std::map<int, pybind11::object> watchers;  // and these, by the file they wait for
  std::optional<pybind11::error_already_set> error;
  bool writable_view = false;  // somebody may write RAM behind the core's back

  // Calls into Python from a running hart; an error stops the run, which raises it.
  template <class Result, class... Args>
  Result call(std::size_t callable, Result otherwise, Args... args) {
    const World::Outside outside{system.world};  // who has the GIL may wait for the harts
    pybind11::gil_scoped_acquire gil;
    return call(callables[callable], otherwise, args...);
  }

  // What an error leaves is for the next run.
  void do_deferred() {
    pybind11::gil_scoped_acquire gil;
    std::vector<pybind11::object> now = std::exchange(deferred, {});
    auto next = now.begin();
    while (next != now.end() && !error) call<int>(*next++, 0);
    deferred.insert(deferred.begin(), next, now.end());
    if (!deferred.empty()) system.put_off();
  }
  // Whom an error leaves no time is told in the next run.
  void tell_watchers(const std::vector<int>& files) {
    pybind11::gil_scoped_acquire gil;
    for (const int file : files)
      if (error)
        system.lookout.watch(file);
      else if (const auto watcher = watchers.extract(file))
        call<int>(watcher.mapped(), 0);
  }
  static pybind11::error_already_set type_error();
  Exit finish(Exit exit);  // raises what a callable has raised, or what a check has found

 private:
  template <class Result, class... Args>
  Result call(const pybind11::object& callable, Result otherwise, Args... args) {
    if (error) return otherwise;
    try {
      pybind11::object result = callable(args...);
      if constexpr (std::is_same_v<Result, u64>) return pybind11::cast<u64>(result);
    } catch (pybind11::error_already_set& e) {
      error.emplace(std::move(e));
    } catch (const pybind11::cast_error&) {
      error.emplace(type_error());
    }
    if (error) system.halt(0);
    return otherwise;
  }
};

struct HartFace {
  std::shared_ptr<SystemFace> owner;
  unsigned index;
  Cpu& cpu() const { return owner->system.hart(index); }
  Hart& hart() const { return cpu().hart; }
};

}  // namespace rvvm
