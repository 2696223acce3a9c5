// The system as Python sees it.
#include <pybind11/stl.h>

#include "bind/faces.hpp"
#include "engine/commit_log.hpp"
#include "engine/jit/jit.hpp"

namespace py = pybind11;

namespace rvvm {

py::error_already_set SystemFace::type_error() {
  PyErr_SetString(PyExc_TypeError, "a device's read must return an integer from 0 to 2**64 - 1");
  return py::error_already_set();
}

namespace {

std::string describe(const StaleTranslation& found) {
  const char* names[] = {"load", "store", "fetch"};
  return py::str("a {} of {:#x} is cached as {:#x}, and walked: {}")
      .format(names[static_cast<std::size_t>(found.access)], found.address, found.cached.value,
              found.walked && !*found.why ? py::str("{:#x}").format(found.walked->value)
                                          : py::str(found.why))
      .cast<std::string>();
}

}  // namespace

Exit SystemFace::finish(Exit exit) {
  if (error) {
    py::error_already_set raised = std::move(*error);
    error.reset();
    throw raised;
  }
  if (const auto& found = system->stale_translation()) throw std::runtime_error(describe(*found));
  check_log();
  return exit;
}

// Ends the log, whatever is to come behind it.
std::unique_ptr<CommitLog> SystemFace::exchange_log(std::unique_ptr<CommitLog> other) {
  system->observe([&](Observers& o) { std::swap(o.log, other); });
  return other;
}

void SystemFace::end_log(std::unique_ptr<CommitLog> log) {
  if (!log) return;
  log->close();
  if (!log->error()) return;
  errno = log->error();
  PyErr_SetFromErrnoWithFilename(PyExc_OSError, log->path().c_str());
  throw py::error_already_set();
}

void SystemFace::check_log() {
  if (system->observers.log && system->observers.log->error()) end_log(exchange_log(nullptr));
}

bool SystemFace::go_on() {
  if (error) return false;
  try {
    DeferredSignals::poll();
  } catch (py::error_already_set& raised) {
    error.emplace(std::move(raised));
  }
  return !error;
}

namespace {

std::vector<SystemFace*>& all_running() {
  static auto* const the = new std::vector<SystemFace*>;
  return *the;
}

}  // namespace

SystemFace::Running::Running(SystemFace& face) : face_{face} {
  face_.check_paused();
  face_.running = true;
  all_running().push_back(&face_);
}
SystemFace::Running::~Running() {
  std::erase(all_running(), &face_);
  face_.running = false;
}

void SystemFace::stop_all() {
  for (const SystemFace* face : all_running()) face->system->pause();
}

// RAM stays as long as somebody has a view of it.
void SystemFace::close() {
  if (!system) return;
  check_paused();
  const std::unique_ptr<System> ended = system.give_up();
  callables.clear();
  deferred.clear();
  watchers.clear();
}

namespace {

const char* reason_name(ExitReason reason) {
  switch (reason) {
    case ExitReason::budget: return "budget";
    case ExitReason::wfi: return "wfi";
    case ExitReason::halt: return "halt";
    case ExitReason::breakpoint: return "breakpoint";
    case ExitReason::watchpoint: return "watchpoint";
    case ExitReason::trap: return "trap";
    case ExitReason::pause: break;
  }
  return "pause";
}

// The engine that `accel` names; nullptr: the interpreter, also where the host has no room for code
// and any engine will do.
std::unique_ptr<jit::Jit> make_translator(const std::string& accel, const jit::Options& options,
                                          std::size_t code_size, bool& room) {
  const bool automatic = accel == "auto";
  if (accel != "interp" && accel != "jit" && !automatic)
    throw py::value_error("accel is auto, interp or jit, not " + accel);
  if (options.unit_limit < 1 || options.unit_limit > CodeCache::max_block)
    throw py::value_error("a unit has 1 to 64 instructions");
  if (options.swap_worth < 1) throw py::value_error("to swap registers must be worth a use");
  if (accel == "interp" || (automatic && !options.host.x86_64)) return nullptr;
  if (!options.host.x86_64) throw py::value_error("accel jit: made for x86-64 hosts only");
  try {
    return std::make_unique<jit::Jit>(options, code_size);
  } catch (const std::system_error&) {
    if (!automatic) throw;
    room = false;
    return nullptr;
  }
}

jit::HostFeatures host_without(const std::vector<std::string>& names) {
  jit::HostFeatures host = jit::HostFeatures::detect();
  for (const std::string& name : names)
    if (!host.remove(name)) throw py::value_error("unknown host feature " + name);
  return host;
}

std::shared_ptr<SystemFace> make_system(u64 timebase, const std::string& clock_name,
                                        const std::string& accel, bool chain, unsigned unit_limit,
                                        unsigned hot, std::size_t code_size, bool threads,
                                        std::optional<u64> disturb, bool check_translations,
                                        const std::vector<std::string>& host_lacks, bool perf_map,
                                        bool background, unsigned swap_worth) {
  if (timebase == 0 || timebase > Clock::highest_frequency)
    throw py::value_error("timebase is in ticks a second, 1 to 8,589,934,591");
  if (clock_name != "host" && clock_name != "instructions")
    throw py::value_error("clock is host or instructions, not " + clock_name);
  const Clock clock{timebase, clock_name == "instructions"};
  const jit::Options options{.chain = chain,
                             .background = background,
                             .perf_map = perf_map,
                             .unit_limit = unit_limit,
                             .hot = hot,
                             .swap_worth = swap_worth,
                             .host = host_without(host_lacks)};
  bool room = true;
  std::unique_ptr<Interpreter> engine = make_translator(accel, options, code_size, room);
  const char* name = engine ? "jit" : "interp";
  if (!engine) engine = std::make_unique<Interpreter>();
  auto system = std::make_unique<System>(clock, std::move(engine), threads);
  if (disturb) system->disturbance.emplace(*disturb);
  if (check_translations) system->check_translations();
  return std::make_shared<SystemFace>(std::move(system), name, room);
}

ExtSet extension_set(const std::vector<std::string>& names) {
  ExtSet set;
  for (const std::string& name : names) {
    const auto extension = find_extension(name);
    if (!extension) throw py::value_error("unknown extension " + name);
    set.insert(*extension);
  }
  if (!set.has(Ext::I)) throw py::value_error("a hart needs the base instruction set i");
  return closure(set);
}

HartFace add_hart(const std::shared_ptr<SystemFace>& f, u64 id,
                  const std::vector<std::string>& extensions, u64 reset_pc) {
  f->paused().add_hart(id, extension_set(extensions), reset_pc);
  return {f, f->system->harts() - 1};
}

void add_device(SystemFace& f, const std::string& name, u64 base, u64 size, py::object read,
                py::object write) {
  const std::size_t reader = f.callables.size();
  f.paused().bus.add_device(
      {name, base, size,
       [&f, reader](u64 offset, unsigned width) { return f.call<u64>(reader, 0, offset, width); },
       [&f, reader](u64 offset, unsigned width, u64 value) {
         f.call<int>(reader + 1, 0, offset, width, value);
       }});
  f.callables.push_back(std::move(read));
  f.callables.push_back(std::move(write));
}

void watch_store(SystemFace& f, u64 address, u64 size, py::object callback) {
  const std::size_t index = f.callables.size();
  f.callables.push_back(std::move(callback));
  f.system->watch_stores({address, size, [&f, index](u64 at, unsigned width, u64 value) {
                            f.call<int>(index, 0, at, width, value);
                          }});
}

[[noreturn]] void outside(u64 address, u64 size) {
  throw py::index_error(
      py::str("{:#x}, {} bytes: not in one RAM").format(address, size).cast<std::string>());
}

py::bytes read_memory(SystemFace& f, u64 address, u64 size) {
  const u8* host = f.system->bus.host(Hpa{address}, size);
  if (!host) outside(address, size);
  return py::bytes(reinterpret_cast<const char*>(host), size);
}

void write_memory(SystemFace& f, u64 address, const py::buffer& data) {
  const py::buffer_info info = data.request();
  const u64 size = info.size * info.itemsize;
  if (!PyBuffer_IsContiguous(info.view(), 'C')) throw py::value_error("data must be contiguous");
  if (!f.own().write(address, static_cast<const u8*>(info.ptr), size)) outside(address, size);
}

// Guest RAM as a buffer: the memory is there as long as this is.
struct RamView {
  std::shared_ptr<const u8> memory;
  u8* data;
  u64 size;
  bool writable;
};

std::shared_ptr<const u8> memory_at(SystemFace& f, u64 address) {
  return f.system->bus.ram(Hpa{address})->memory();
}

py::memoryview view(const std::shared_ptr<SystemFace>& f, u64 address, u64 size, bool writable) {
  u8* host = f->system->bus.host(Hpa{address}, size);
  if (!host) outside(address, size);
  f->writable_view |= writable;
  return py::memoryview(py::cast(RamView{memory_at(*f, address), host, size, writable}));
}

// For devices, which say what they have written.
py::memoryview dma(const std::shared_ptr<SystemFace>& f, u64 address, u64 size) {
  u8* host = f->system->bus.host(Hpa{address}, size);
  if (!host) outside(address, size);
  return py::memoryview(py::cast(RamView{memory_at(*f, address), host, size, true}));
}

void written(SystemFace& f, u64 address, u64 size) {
  if (!f.system->bus.host(Hpa{address}, size)) outside(address, size);
  f.own().written(address, size);
}

void discard(SystemFace& f, u64 address, u64 size) {
  if (!f.own().discard(address, size)) outside(address, size);
}

void defer(SystemFace& f, py::object callable) {
  f.deferred.push_back(std::move(callable));
  f.system->put_off();
  if (!f.system->world.here()) f.system->lookout.ring();  // all harts may be asleep
}

void watch(SystemFace& f, int file, py::object callable) {
  f.watchers[file] = std::move(callable);
  f.system->lookout.watch(file);
}

Exit run(SystemFace& f, std::optional<u64> instructions) {
  return f.run([&f, instructions](System& system, const Poll& poll) {
    if (f.writable_view) system.forget_ram();
    return system.run(instructions.value_or(~u64{0}), poll);
  });
}

Watchpoint watchpoint(u64 address, u64 size, const std::string& kind) {
  if (kind != "r" && kind != "w" && kind != "rw")
    throw py::value_error("kind is r, w or rw, not " + kind);
  return {address, size, kind[0] == 'r', kind.back() == 'w'};
}

void log_commits(SystemFace& f, const std::optional<std::string>& path) {
  f.end_log(f.exchange_log(nullptr));
  if (path) f.exchange_log(std::make_unique<CommitLog>(*path));
}

std::vector<HartFace> harts(const std::shared_ptr<SystemFace>& f) {
  std::vector<HartFace> list;
  for (unsigned i = 0; i < f->system->harts(); ++i) list.push_back({f, i});
  return list;
}

// A sum over harts for each of these counters.
template <class Counts>
void add_up(py::dict& sums, const Counts& counts,
            std::initializer_list<std::pair<const char*, u64 Counts::*>> names) {
  for (const auto& [name, member] : names) {
    const u64 before = sums.contains(name) ? sums[name].template cast<u64>() : 0;
    sums[name] = py::int_(before + counts.*member);
  }
}

void add_tlb(py::dict& sums, const TlbStats& stats) {
  add_up<TlbStats>(sums, stats,
                   {{"tlb_fills", &TlbStats::fills},
                    {"tlb_two_stage_fills", &TlbStats::two_stage_fills},
                    {"tlb_evictions", &TlbStats::evictions},
                    {"walks", &TlbStats::walks},
                    {"slow_loads", &TlbStats::slow_loads},
                    {"slow_stores", &TlbStats::slow_stores},
                    {"flushes_fence_all", &TlbStats::fence_all},
                    {"flushes_fence_asid", &TlbStats::fence_asid},
                    {"flushes_fence_address", &TlbStats::fence_address},
                    {"flushes_hfence_vvma", &TlbStats::hfence_vvma},
                    {"flushes_hfence_gvma", &TlbStats::hfence_gvma},
                    {"flushes_pmp", &TlbStats::pmp},
                    {"flushes_context_reuse", &TlbStats::context_reuse},
                    {"flushes_code", &TlbStats::code}});
}

void add_engine(py::dict& sums, const EngineCounts& counts) {
  add_up<EngineCounts>(sums, counts,
                       {{"entries", &EngineCounts::entries},
                        {"ways_resolved", &EngineCounts::resolved},
                        {"interpreted", &EngineCounts::interpreted},
                        {"exits_budget", &EngineCounts::left_for_budget},
                        {"exits_attention", &EngineCounts::left_for_attention},
                        {"exits_trap", &EngineCounts::left_for_trap},
                        {"exits_target", &EngineCounts::left_for_target}});
}

py::dict stats(SystemFace& f) {
  const CodeCache::Stats code = f.system->code_stats();
  const TranslationStats made = f.system->translation_stats();
  py::dict sums;
  u64 traps = 0, retired = 0;
  for (unsigned i = 0; i < f.system->harts(); ++i) {
    Cpu& cpu = f.system->hart(i);
    traps += cpu.hart.traps;
    retired += cpu.hart.retired;
    add_tlb(sums, cpu.mmu.tlb.stats);
    add_engine(sums, cpu.counts);
  }
  const std::pair<const char*, u64> rest[] = {{"instructions", retired},
                                              {"traps", traps},
                                              {"blocks", code.blocks},
                                              {"block_instructions", code.instructions},
                                              {"pages_dropped", code.dropped},
                                              {"units", made.units},
                                              {"unit_instructions", made.instructions},
                                              {"code_bytes", made.bytes},
                                              {"code_flushes", made.flushes},
                                              {"translation_ns", made.nanoseconds},
                                              {"chained_jumps", made.jumps}};
  for (const auto& [name, value] : rest) sums[name] = py::int_(value);
  return sums;
}

// Which of these pcs a hart would keep, and how often: for tests.
std::unordered_map<u64, u64> count_samples(const std::vector<u64>& pcs) {
  Samples samples;
  for (const u64 pc : pcs) samples.add(pc);
  return samples.counts();
}

// Where turns ended, by pc: about one of 200,000 instructions.
std::map<u64, u64> samples(SystemFace& f) {
  std::map<u64, u64> sums;
  f.system->world.alone([&] {
    for (const auto& cpu : f.system->cpus())
      for (const auto& [pc, count] : cpu->counts.samples.counts()) sums[pc] += count;
  });
  return sums;
}

// Devices usually refer back to the system: let the garbage collector see through the callables.
int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!py::detail::is_holder_constructed(self)) return 0;
  auto& f = py::cast<SystemFace&>(py::handle(self));
  for (const py::object& callable : f.callables) Py_VISIT(callable.ptr());
  for (const py::object& callable : f.deferred) Py_VISIT(callable.ptr());
  for (const auto& [file, callable] : f.watchers) Py_VISIT(callable.ptr());
  return 0;
}
int clear(PyObject* self) {
  auto& f = py::cast<SystemFace&>(py::handle(self));
  for (py::object& callable : f.callables) callable = py::none();
  f.deferred.clear();
  f.watchers.clear();
  return 0;
}

}  // namespace

void bind_system(py::module_& m) {
  m.def("count_samples", &count_samples, py::arg("pcs"));
  py::class_<Exit>(m, "Exit")
      .def_property_readonly("reason", [](const Exit& e) { return reason_name(e.reason); })
      .def_readonly("hart", &Exit::hart)
      .def_readonly("detail", &Exit::detail)
      .def("__repr__", [](const Exit& e) {
        return py::str("Exit({!r}, hart={}, detail={:#x})")
            .format(reason_name(e.reason), e.hart, e.detail);
      });

  py::class_<RamView>(m, "_RamView", py::buffer_protocol()).def_buffer([](RamView& v) {
    return py::buffer_info(v.data, static_cast<py::ssize_t>(v.size), !v.writable);
  });

  auto collectable = py::custom_type_setup([](PyHeapTypeObject* heap_type) {
    PyTypeObject* type = &heap_type->ht_type;
    type->tp_flags |= Py_TPFLAGS_HAVE_GC;
    type->tp_traverse = traverse;
    type->tp_clear = clear;
  });
  py::class_<SystemFace, std::shared_ptr<SystemFace>>(m, "System", collectable)
      .def(py::init(&make_system), py::arg("timebase") = 10'000'000, py::arg("clock") = "host",
           py::arg("accel") = "interp", py::arg("chain") = true, py::arg("unit_limit") = 64,
           py::arg("hot") = jit::Options{}.hot, py::arg("code_size") = jit::Jit::default_size,
           py::arg("threads") = false, py::arg("disturb") = py::none(),
           py::arg("check_translations") = false,
           py::arg("host_lacks") = std::vector<std::string>{}, py::arg("perf_map") = false,
           py::arg("background") = false, py::arg("swap_worth") = jit::Options{}.swap_worth)
      .def_readonly("accel", &SystemFace::accel)
      .def_readonly("room_for_code", &SystemFace::room_for_code)
      .def_property_readonly("harts", &harts)
      .def_property(
          "time", [](SystemFace& f) { return f.system->time(); },
          [](SystemFace& f, u64 value) { f.system->set_time(value); })
      .def_property(
          "alarm", [](SystemFace& f) { return f.system->clock.alarm; },
          [](SystemFace& f, u64 value) { f.system->set_alarm(value); })
      .def(
          "add_ram", [](SystemFace& f, u64 base, u64 size) { f.paused().bus.add_ram(base, size); },
          py::arg("base"), py::arg("size"))
      .def("add_device", &add_device, py::arg("name"), py::arg("base"), py::arg("size"),
           py::arg("read"), py::arg("write"))
      .def("add_hart", &add_hart, py::arg("id"), py::arg("extensions"),
           py::arg("reset_pc") = 0x1000)
      .def("read", &read_memory, py::arg("address"), py::arg("size"))
      .def("write", &write_memory, py::arg("address"), py::arg("data"))
      .def("view", &view, py::arg("address"), py::arg("size"), py::arg("writable") = false)
      .def("dma", &dma, py::arg("address"), py::arg("size"))
      .def("written", &written, py::arg("address"), py::arg("size"))
      .def("discard", &discard, py::arg("address"), py::arg("size"))
      .def("watch_store", &watch_store, py::arg("address"), py::arg("size"), py::arg("callback"))
      .def("defer", &defer, py::arg("callback"))
      .def("watch", &watch, py::arg("file"), py::arg("callback"))
      .def("run", &run, py::arg("instructions") = py::none())
      .def("pause",
           [](SystemFace& f) {
             if (f.system) f.system->pause();  // what is closed does not run
           })
      .def(
          "halt", [](SystemFace& f, u64 code) { f.system->halt(code); }, py::arg("code"))
      .def("reset", [](SystemFace& f) { f.paused().reset(); })
      .def("close", &SystemFace::close)
      .def(
          "add_breakpoint",
          [](SystemFace& f, u64 pc) {
            f.system->observe([pc](Observers& o) { o.breakpoints.insert(pc); });
          },
          py::arg("pc"))
      .def(
          "remove_breakpoint",
          [](SystemFace& f, u64 pc) {
            f.system->observe([pc](Observers& o) { o.breakpoints.erase(pc); });
          },
          py::arg("pc"))
      .def(
          "add_watchpoint",
          [](SystemFace& f, u64 address, u64 size, const std::string& kind) {
            f.system->observe(
                [w = watchpoint(address, size, kind)](Observers& o) { o.watchpoints.insert(w); });
          },
          py::arg("address"), py::arg("size"), py::arg("kind"))
      .def(
          "remove_watchpoint",
          [](SystemFace& f, u64 address, u64 size, const std::string& kind) {
            f.system->observe(
                [w = watchpoint(address, size, kind)](Observers& o) { o.watchpoints.erase(w); });
          },
          py::arg("address"), py::arg("size"), py::arg("kind"))
      .def(
          "stop_on_traps",
          [](SystemFace& f, const std::set<u64>& causes) { f.system->stop_on_traps(causes); },
          py::arg("causes"))
      .def("log_commits", &log_commits, py::arg("path"))
      .def("stats", &stats)
      .def("samples", &samples);
}

}  // namespace rvvm
