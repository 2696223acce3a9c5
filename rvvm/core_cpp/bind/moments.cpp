// A machine at some moment, as Python keeps it: harts by name, memory as a whole.
#include <pybind11/stl.h>

#include "bind/faces.hpp"
#include "hart/csr_rules.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

// Calls visit(name, field) for each word of a CSR bank, then of the rest that a hart is made of.
template <class Bank, class Visit> void each_csr(Bank& bank, Visit visit) {
#define CSR(address, name, need, rule) visit(#name, bank.name);
#define CSR_RANGE(address, name, first, last, stride, need, rule) visit(#name, bank.name);
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
}

template <class State, class Visit> void each_wire(State& wires, Visit visit) {
  visit("interrupts", wires.interrupts);
  visit("guest_external", wires.guest_external);
  visit("timer", wires.timer);
}

template <class State, class Visit> void each_reserved(State& reservation, Visit visit) {
  visit("valid", reservation.valid);
  visit("width", reservation.width);
  visit("address", reservation.address);
  visit("value", reservation.value);
}

template <class State, class Visit> void each_of_trap(State& trap, Visit visit) {
  visit("cause", trap.cause);
  visit("tval", trap.tval);
  visit("tval2", trap.tval2);
  visit("tinst", trap.tinst);
  visit("gva", trap.gva);
  visit("epc", trap.epc);
  visit("to", trap.to);
}

template <class State, class Visit> void each_field(State& hart, Visit visit) {
  visit("x", hart.x);
  visit("f", hart.f);
  visit("pc", hart.pc);
  visit("privilege", hart.mode.privilege);
  visit("virtual", hart.mode.virt);
  visit("waiting", hart.waiting);
  visit("retired", hart.retired);
  visit("skipped", hart.skipped);
  visit("traps", hart.traps);
}

template <class T> using Plain = std::conditional_t<std::is_enum_v<T>, u8, T>;

struct Save {
  py::dict values;
  template <class T> void operator()(const char* name, const T& field) {
    if constexpr (std::is_enum_v<T>)
      values[name] = py::int_(static_cast<u8>(field));
    else
      values[name] = py::cast(field);
  }
};

struct Load {
  py::dict values;
  template <class T> void operator()(const char* name, T& field) {
    const auto value = py::cast<Plain<T>>(values[name]);
    if constexpr (std::is_enum_v<T>)
      field = static_cast<T>(value);
    else
      field = value;
  }
};

template <class Each> py::dict saved(Each each) {
  Save save;
  each(save);
  return save.values;
}

py::dict state_of(const HartFace& f) {
  const Hart& h = f.hart();
  const Pins& pins = f.cpu().pins;
  const Wires outside{pins.interrupts, pins.guest_external, pins.timer};
  py::dict state = saved([&](auto& save) { each_field(h, std::ref(save)); });
  state["csr"] = saved([&](auto& save) { each_csr(h.csr, std::ref(save)); });
  Reservation held = h.reservation;
  held.valid &= held.proof == Proof::flag;  // no other proof can be saved
  state["reservation"] = saved([&](auto& save) { each_reserved(held, std::ref(save)); });
  state["last_trap"] = saved([&](auto& save) { each_of_trap(h.last_trap, std::ref(save)); });
  state["wires"] = saved([&](auto& save) { each_wire(h.wires, std::ref(save)); });
  state["pins"] = saved([&](auto& save) { each_wire(outside, std::ref(save)); });
  return state;
}

void check(const Hart& h) {
  const auto level = static_cast<u8>(h.mode.privilege);
  if (level == 2 || level > 3 || (h.mode.virt && (level == 3 || !h.has(Ext::H))))
    throw py::value_error("no mode of this hart");
  if (static_cast<u8>(h.last_trap.to) > static_cast<u8>(TrapTarget::guest))
    throw py::value_error("no target of a trap");
  // What xRET and the walk would take for a mode.
  const u64 previous = field::mstatus::MPP.get(h.csr.mstatus);
  if (previous == 2) throw py::value_error("no mode of this hart in mstatus");
  if (!paging_mode(h, field::satp::MODE.get(h.csr.satp)) ||
      !paging_mode(h, field::satp::MODE.get(h.csr.vsatp)) ||
      !paging_mode(h, field::hgatp::MODE.get(h.csr.hgatp)))
    throw py::value_error("no translation mode of this hart");
  if (field::hstatus::VGEIN.get(h.csr.hstatus) > geilen)
    throw py::value_error("no guest interrupt file of this hart");
}

void load_state(const HartFace& f, const py::dict& state) {
  Hart h = f.hart();
  Wires pins;
  each_field(h, Load{state});
  each_csr(h.csr, Load{state["csr"]});
  each_reserved(h.reservation, Load{state["reservation"]});
  h.reservation.proof = Proof::flag;
  each_of_trap(h.last_trap, Load{state["last_trap"]});
  each_wire(h.wires, Load{state["wires"]});
  each_wire(pins, Load{state["pins"]});
  h.x[0] = 0;
  check(h);
  f.owner->paused().replace(f.cpu(), h, pins);
}

py::dict progress_of(SystemFace& f) {
  const Progress now = f.system->progress();
  return py::dict(py::arg("time") = now.clock, py::arg("turn") = now.turn.hart,
                  py::arg("turn_end") = now.turn.end, py::arg("reached") = now.turn.reached,
                  py::arg("chores") = now.chores);
}

void resume(SystemFace& f, const py::dict& progress) {
  f.deferred.clear();
  f.paused().resume({progress["time"].cast<u64>(),
                   {progress["turn"].cast<unsigned>(), progress["turn_end"].cast<u64>(),
                    progress["reached"].cast<u64>()},
                   progress["chores"].cast<u64>()});
}

MemoryImage image(SystemFace& f, bool to_share) {
  System& system = *f.system;
  const SystemFace::Running alone{f};
  const NoGil nogil;
  return system.image(to_share);
}

void become(SystemFace& f, const MemoryImage& image) {
  System& system = f.paused();
  bool fits;
  {
    const SystemFace::Running alone{f};
    const NoGil nogil;
    fits = system.become(image);
  }
  if (!fits) throw py::value_error("an image of other RAM");
}

// Runs of pages that are not all zero: address and size.
std::vector<std::pair<u64, u64>> filled(SystemFace& f) {
  System& system = *f.system;
  const SystemFace::Running alone{f};
  const NoGil nogil;
  std::vector<std::pair<u64, u64>> runs;
  for (const auto& ram : system.bus.rams())
    for (const u32 page : ram->filled()) {
      const u64 at = ram->base() + page * page_size;
      if (!runs.empty() && runs.back().first + runs.back().second == at)
        runs.back().second += page_size;
      else
        runs.emplace_back(at, page_size);
    }
  return runs;
}

u64 own_pages(const MemoryImage& image) {
  u64 count = 0;
  for (const RamImage& ram : image.rams) count += ram.pages.size();
  return count;
}

u64 base_pages(const MemoryImage& image) {
  u64 count = 0;
  for (const RamImage& ram : image.rams) count += ram.base->pages();
  return count;
}

}  // namespace

void bind_moments(py::module_& m) {
  py::class_<MemoryImage>(m, "MemoryImage")
      .def_property_readonly("own_pages", &own_pages)
      .def_property_readonly("base_pages", &base_pages);

  auto hart = py::reinterpret_borrow<py::class_<HartFace>>(m.attr("Hart"));
  hart.def("state", &state_of).def("load_state", &load_state, py::arg("state"));

  auto system =
      py::reinterpret_borrow<py::class_<SystemFace, std::shared_ptr<SystemFace>>>(m.attr("System"));
  system.def("progress", &progress_of)
      .def("resume", &resume, py::arg("progress"))
      .def("image", &image, py::arg("to_share") = false)
      .def("become", &become, py::arg("image"))
      .def("filled", &filled);
}

}  // namespace rvvm
