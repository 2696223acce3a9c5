// What Python holds: a system, and harts that keep it alive.
#pragma once
#include <unistd.h>

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "bind/gil.hpp"
#include "bind/signals.hpp"
#include "engine/commit_log.hpp"
#include "engine/system.hpp"

namespace rvvm {

// A System, until somebody closes it.
class Owned {
 public:
  explicit Owned(std::unique_ptr<System> system) : system_{std::move(system)} {}
  System* operator->() const { return &**this; }
  System& operator*() const {
    if (!system_) throw std::runtime_error("the machine is closed");
    return *system_;
  }
  explicit operator bool() const { return system_ != nullptr; }
  std::unique_ptr<System> give_up() { return std::move(system_); }

 private:
  std::unique_ptr<System> system_;
};

// A System with the Python callables it calls and the error one of them may have left.
struct SystemFace {
  SystemFace(std::unique_ptr<System> made, const char* accel, bool room_for_code)
      : system{std::move(made)}, accel{accel}, room_for_code{room_for_code} {
    // Python keeps what it knows of a thread that has called it: making that anew costs 20 us.
    system->around_thread = [](const std::function<void()>& live) {
      const pybind11::gil_scoped_acquire known;
      const pybind11::gil_scoped_release nogil;
      live();
    };
    system->chores = [this] { do_deferred(); };
    system->files_ready = [this](const std::vector<int>& files) { tell_watchers(files); };
  }

  // For what changes RAM: translated code is memory that a child process does not have.
  System& own() {
    if (::getpid() == process) return *system;
    throw std::runtime_error("a machine runs in the process that made it, not in its child");
  }
  // For what only a machine that nobody runs allows: to run it, and to change its harts.
  System& paused() {
    check_paused();
    return own();
  }
  void check_paused() const {
    if (running) throw std::runtime_error("the machine runs: pause it first");
  }

  // Calls action(system, poll) without the GIL, as the only one that runs it. Signals are handled
  // before it, where it polls, and behind it: never within a device.
  template <class Action> Exit run(Action action) {
    DeferredSignals signals;
    try {
      const Exit exit = finish(go_on() ? run_alone(action) : Exit{ExitReason::pause});
      signals.leave();
      return exit;
    } catch (...) {
      signals.leave();
      throw;
    }
  }

  // While it lives, this thread has the system for itself, with the GIL and without.
  class Running {
   public:
    explicit Running(SystemFace& face);
    ~Running();
    Running(const Running&) = delete;

   private:
    SystemFace& face_;
  };

  Owned system;
  bool running = false;  // under the GIL
  const int process = ::getpid();
  const char* const accel;   // what the engine is called
  const bool room_for_code;  // the host had memory for it, or nobody asked
  std::vector<pybind11::object>
      callables;  // devices and watches: visible to Python's garbage collector
  std::vector<pybind11::object> deferred;    // and these, which are called once
  std::map<int, pybind11::object> watchers;  // and these, by the file they wait for
  std::optional<pybind11::error_already_set> error;
  bool writable_view = false;  // somebody may write RAM behind the core's back

  // Calls into Python from a running hart; an error stops the run, which raises it. What other
  // harts ask of devices until then is done all the same: nothing of it would come again.
  template <class Result, class... Args>
  Result call(std::size_t callable, Result otherwise, Args... args) {
    const World::Outside outside{system->world};  // who has the GIL may wait for the harts
    pybind11::gil_scoped_acquire gil;
    return call(callables[callable], otherwise, args...);
  }

  void do_deferred() {
    pybind11::gil_scoped_acquire gil;
    for (const pybind11::object& action : std::exchange(deferred, {})) call<int>(action, 0);
  }
  void tell_watchers(const std::vector<int>& files) {
    pybind11::gil_scoped_acquire gil;
    for (const int file : files)
      if (const auto watcher = watchers.extract(file)) call<int>(watcher.mapped(), 0);
  }
  static pybind11::error_already_set type_error();
  Exit finish(Exit exit);  // raises what a callable has raised, or what a check has found
  // The log there was before; and its end, which raises why it is cut short.
  std::unique_ptr<CommitLog> exchange_log(std::unique_ptr<CommitLog> other);
  void end_log(std::unique_ptr<CommitLog> log);
  void close();
  static void stop_all();  // those that run

 private:
  template <class Action> Exit run_alone(Action& action) {
    System& here = paused();
    const Running running{*this};
    const NoGil nogil;
    return action(here, [this] {
      const pybind11::gil_scoped_acquire gil;
      return go_on();
    });
  }
  void check_log();  // raises why it is cut short
  bool go_on();      // false: a device or a signal's handler has raised something

  template <class Result, class... Args>
  Result call(const pybind11::object& callable, Result otherwise, Args... args) {
    try {
      pybind11::object result = callable(args...);
      if constexpr (std::is_same_v<Result, u64>) return pybind11::cast<u64>(result);
    } catch (pybind11::error_already_set& e) {
      fail(std::move(e));
    } catch (const pybind11::cast_error&) {
      fail(type_error());
    }
    return otherwise;
  }
  // The run raises the first; Python is told of others on the way there.
  void fail(pybind11::error_already_set&& e) {
    if (error)
      e.discard_as_unraisable("a device of rvvm");
    else
      error.emplace(std::move(e));
    system->pause();
  }
};

struct HartFace {
  std::shared_ptr<SystemFace> owner;
  unsigned index;
  Cpu& cpu() const { return owner->system->hart(index); }
  Hart& hart() const { return cpu().hart; }
  // To change it.
  Cpu& paused_cpu() const { return owner->paused().hart(index); }
  Hart& paused_hart() const { return paused_cpu().hart; }
};

}  // namespace rvvm
