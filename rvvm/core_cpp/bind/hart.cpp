// Harts as Python sees them.
#include <pybind11/stl.h>

#include "bind/faces.hpp"
#include "engine/quick_csr.hpp"
#include "hart/csr_file.hpp"
#include "hart/interrupts.hpp"
#include "hart/plain_csrs.hpp"
#include "hart/trap.hpp"
#include "semantics/csr.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

const CsrRow& require_csr(const Hart& h, u16 address) {
  const CsrRow* row = find_csr(h, address);
  if (!row)
    throw py::key_error("this hart has no CSR at " +
                        py::str("{:#x}").format(address).cast<std::string>());
  return *row;
}

u64 get_csr(const HartFace& f, u16 address) {
  if (!f.owner->running) f.cpu().take_pins();
  return read_csr(f.hart(), require_csr(f.hart(), address));
}

void set_csr(const HartFace& f, u16 address, u64 value) {
  Hart& h = f.paused_hart();
  write_csr(h, require_csr(h, address), value);
  f.cpu().settle();
}

// As CSRRS and CSRRC do, which change some bits and leave the others: what a wire adds to a bit is
// not written back.
void change_csr(const HartFace& f, u16 address, u64 mask, u64 value) {
  Hart& h = f.paused_hart();
  f.cpu().take_pins();
  const CsrRow& row = require_csr(h, address);
  write_csr(h, row, merge(modifiable(h, row, read_csr(h, row)), value, mask));
  f.cpu().settle();
}

std::optional<PlainCsr> plain_csr_of(const HartFace& f, u16 address) {
  return plain_csr(address, f.hart().extensions);
}

std::optional<u64> read_plain_csr(const HartFace& f, u16 address) {
  u64 value;
  const auto csr = plain_csr_of(f, address);
  return csr && read_plain(f.hart(), *csr, value) ? std::optional(value) : std::nullopt;
}

bool write_plain_csr(const HartFace& f, u16 address, u64 value) {
  const auto csr = plain_csr_of(f, address);
  return csr && write_plain(f.paused_hart(), *csr, value);
}

std::optional<u64> quick_csr_of(const HartFace& f, u32 bits, u64 operand) {
  Cpu& cpu = f.paused_cpu();
  cpu.limit = cpu.hart.retired + 1;
  const QuickCsr result = quick_csr(cpu, decode(bits, cpu.hart.extensions), operand, 0);
  return result.done ? std::optional(result.old) : std::nullopt;
}

void set_mode(const HartFace& f, Mode mode) {
  change_mode(f.paused_hart(), mode);
  f.cpu().settle();
}

Privilege privilege_of(unsigned number) {
  if (number != 0 && number != 1 && number != 3)
    throw py::value_error("privilege is 0 (U), 1 (S) or 3 (M)");
  return static_cast<Privilege>(number);
}

unsigned register_number(unsigned n) {
  if (n > 31) throw py::index_error("registers are numbered 0 to 31");
  return n;
}

void set_bit(const HartFace& f, std::atomic<u64>& pins, u64 bit, bool level) {
  const u64 before = level ? pins.fetch_or(bit) : pins.fetch_and(~bit);
  if (((before & bit) != 0) != level) f.owner->system->wires_changed(f.cpu());
}

void set_interrupt(const HartFace& f, unsigned number, bool level) {
  Cpu& cpu = f.cpu();
  set_bit(f, cpu.pins.interrupts, u64{1} << (number & 63), level);
}

void set_guest_interrupt(const HartFace& f, unsigned guest, bool level) {
  if (guest == 0 || guest > 5)
    throw py::value_error("guest external interrupts are numbered 1 to 5");
  set_bit(f, f.cpu().pins.guest_external, u64{1} << guest, level);
}

void set_timer(const HartFace& f, u64 deadline) {
  if (f.cpu().pins.timer.exchange(deadline) != deadline) f.owner->system->wires_changed(f.cpu());
}

// Whether a timer that is not due yet will interrupt what it does now.
bool timer_to_come(const HartFace& f) {
  const Hart& h = f.hart();
  const u64 waited_for = h.csr.mie & irq::timers & ~pending_interrupts(h);
  return next_deadline(h) != ~u64{0} && choose_interrupt(h, waited_for);
}

Access access_of(const std::string& name) {
  if (name == "load") return Access::load;
  if (name == "store") return Access::store;
  if (name == "fetch") return Access::fetch;
  throw py::value_error("access is load, store or fetch, not " + name);
}

struct TranslationFace {
  Translation result;
  std::vector<WalkStep> steps;
};

TranslationFace translate_address(const HartFace& f, u64 address, const std::string& access,
                                  std::optional<unsigned> privilege, std::optional<bool> virt) {
  TranslationFace face;
  Mode mode = access == "fetch" ? f.hart().mode : data_mode(f.hart());
  if (privilege) mode.privilege = privilege_of(*privilege);
  if (virt) mode.virt = *virt;
  if (mode.privilege == Privilege::M) mode.virt = false;
  const Request request{.address = Gva{address}, .access = access_of(access), .trace = &face.steps};
  const Regime regime =
      Regime::of(ContextKey::of(f.hart(), ContextKey::state(f.hart(), mode)), f.hart().extensions);
  face.result = translate(regime, f.owner->system->bus, f.cpu().mmu.pmp, request);
  return face;
}

std::string pte_flags(u64 pte) {
  std::string flags;
  constexpr std::pair<u64, char> bits[] = {{Pte::R, 'r'}, {Pte::W, 'w'}, {Pte::X, 'x'},
                                           {Pte::U, 'u'}, {Pte::A, 'a'}, {Pte::G, 'g'},
                                           {Pte::D, 'd'}};
  for (auto [bit, letter] : bits) flags += pte & bit ? letter : '-';
  return flags;
}

const char* pte_note(u64 bits) {
  const Pte pte{bits};
  if (!pte.has(Pte::V)) return "not valid";
  return pte.leaf() ? "leaf" : "pointer";
}

// Virtual memory in pieces that do not cross a page: piece(physical address, bytes done, bytes).
template <class Piece>
void each_page(const HartFace& f, u64 address, u64 size, const char* access, Piece piece) {
  for (u64 done = 0; done < size;) {
    const u64 at = address + done, n = std::min(size - done, page_size - (at & page_mask));
    const TranslationFace t = translate_address(f, at, access, std::nullopt, std::nullopt);
    if (!t.result.ok || !piece(t.result.physical.value, done, n))
      throw py::value_error(py::str("{:#x}: {}")
                                .format(at, t.result.ok ? "not RAM" : t.result.why)
                                .cast<std::string>());
    done += n;
  }
}

py::bytes read_virtual(const HartFace& f, u64 address, u64 size) {
  std::string data(size, '\0');
  each_page(f, address, size, "load", [&](u64 physical, u64 done, u64 n) {
    return f.owner->system->read(physical, reinterpret_cast<u8*>(data.data()) + done, n);
  });
  return data;
}

void write_virtual(const HartFace& f, u64 address, const std::string& data) {
  each_page(f, address, data.size(), "store", [&](u64 physical, u64 done, u64 n) {
    return f.owner->own().write(physical, reinterpret_cast<const u8*>(data.data()) + done, n);
  });
}

const char* target_name(TrapTarget to) {
  switch (to) {
    case TrapTarget::machine: return "M";
    case TrapTarget::supervisor: return "HS";
    case TrapTarget::guest: break;
  }
  return "VS";
}

py::object last_trap(const HartFace& f) {
  const Hart& h = f.hart();
  if (!h.traps) return py::none();
  const TrapRecord& t = h.last_trap;
  return py::dict(py::arg("cause") = t.cause & ~interrupt_bit,
                  py::arg("interrupt") = (t.cause & interrupt_bit) != 0, py::arg("epc") = t.epc,
                  py::arg("tval") = t.tval, py::arg("tval2") = t.tval2, py::arg("tinst") = t.tinst,
                  py::arg("to") = target_name(t.to), py::arg("gva") = t.gva);
}

py::dict registers(const HartFace& f) {
  const Hart& h = f.hart();
  py::dict csrs;
  for (const CsrRow& row : csr_rows())
    if (find_csr(h, row.address)) csrs[py::str(row.name())] = get_csr(f, row.address);
  return py::dict(py::arg("pc") = h.pc, py::arg("x") = h.x, py::arg("f") = h.f,
                  py::arg("privilege") = static_cast<unsigned>(h.mode.privilege),
                  py::arg("virtual") = h.mode.virt, py::arg("csr") = csrs);
}

// x0 to x31, then f0 to f31.
void set_registers(const HartFace& f, const py::bytes& values) {
  const std::string_view bytes = values;
  Hart& h = f.paused_hart();
  if (bytes.size() != sizeof h.x + sizeof h.f)
    throw py::value_error("32 integer and 32 floating-point registers of 8 bytes each");
  std::memcpy(h.x.data(), bytes.data(), sizeof h.x);
  std::memcpy(h.f.data(), bytes.data() + sizeof h.x, sizeof h.f);
  h.x[0] = 0;
}

py::frozenset extension_names(const HartFace& f) {
  py::set names;
  for (const Extension& e : extensions)
    if (f.hart().has(e.ext)) names.add(e.name);
  return py::frozenset(names);
}

}  // namespace

void bind_hart(py::module_& m) {
  m.def(
      "ticks", [](u64 nanoseconds, u64 frequency) { return Ticks{frequency}(nanoseconds); },
      py::arg("nanoseconds"), py::arg("frequency"));

  py::class_<WalkStep>(m, "Step")
      .def_readonly("stage", &WalkStep::stage)
      .def_readonly("level", &WalkStep::level)
      .def_readonly("pte_address", &WalkStep::address)
      .def_readonly("pte_physical", &WalkStep::physical)
      .def_readonly("pte", &WalkStep::pte)
      .def_property_readonly("flags", [](const WalkStep& s) { return pte_flags(s.pte); })
      .def_property_readonly("note", [](const WalkStep& s) { return pte_note(s.pte); })
      .def("__repr__", [](const WalkStep& s) {
        return py::str("Step({} level {}: {:#x} at {:#x}, {} {})")
            .format(s.stage, s.level, s.pte, s.physical, pte_flags(s.pte), pte_note(s.pte));
      });

  py::class_<TranslationFace>(m, "Translation")
      .def_property_readonly("ok", [](const TranslationFace& t) { return t.result.ok; })
      .def_property_readonly("physical",
                             [](const TranslationFace& t) {
                               return t.result.ok ? std::optional(t.result.physical.value)
                                                  : std::nullopt;
                             })
      .def_property_readonly("cause",
                             [](const TranslationFace& t) {
                               return t.result.ok ? std::nullopt
                                                  : std::optional(t.result.trap.cause);
                             })
      .def_property_readonly("tval2", [](const TranslationFace& t) { return t.result.trap.tval2; })
      .def_property_readonly("reason", [](const TranslationFace& t) { return t.result.why; })
      .def_readonly("steps", &TranslationFace::steps);

  py::class_<HartFace>(m, "Hart")
      .def_readonly("index", &HartFace::index)
      .def_property_readonly("id", [](const HartFace& f) { return f.cpu().hart_id; })
      .def_property(
          "pc", [](const HartFace& f) { return f.hart().pc; },
          [](const HartFace& f, u64 pc) { f.paused_hart().pc = pc; })
      .def_property(
          "privilege",
          [](const HartFace& f) { return static_cast<unsigned>(f.hart().mode.privilege); },
          [](const HartFace& f, unsigned p) { set_mode(f, {privilege_of(p), f.hart().mode.virt}); })
      .def_property(
          "virtual", [](const HartFace& f) { return f.hart().mode.virt; },
          [](const HartFace& f, bool v) { set_mode(f, {f.hart().mode.privilege, v}); })
      .def_property(
          "waiting", [](const HartFace& f) { return f.hart().waiting; },
          [](const HartFace& f, bool waiting) { f.paused_hart().waiting = waiting; })
      .def_property(
          "instret", [](const HartFace& f) { return f.hart().retired; },
          [](const HartFace& f, u64 count) { f.paused_hart().retired = count; })
      .def_property_readonly("deadline", [](const HartFace& f) { return next_deadline(f.hart()); })
      .def_property_readonly("traps", [](const HartFace& f) { return f.hart().traps; })
      .def_property_readonly("last_trap", &last_trap)
      .def_property_readonly("extensions", &extension_names)
      .def(
          "x", [](const HartFace& f, unsigned n) { return f.hart().x[register_number(n)]; },
          py::arg("number"))
      .def(
          "set_x",
          [](const HartFace& f, unsigned n, u64 v) {
            if (Hart& h = f.paused_hart(); register_number(n)) h.x[n] = v;
          },
          py::arg("number"), py::arg("value"))
      .def(
          "f", [](const HartFace& f, unsigned n) { return f.hart().f[register_number(n)]; },
          py::arg("number"))
      .def(
          "set_f",
          [](const HartFace& f, unsigned n, u64 v) { f.paused_hart().f[register_number(n)] = v; },
          py::arg("number"), py::arg("value"))
      .def("csr", &get_csr, py::arg("address"))
      .def("set_csr", &set_csr, py::arg("address"), py::arg("value"))
      .def("change_csr", &change_csr, py::arg("address"), py::arg("mask"), py::arg("value"))
      .def("plain_csr", &read_plain_csr, py::arg("address"))
      .def("set_plain_csr", &write_plain_csr, py::arg("address"), py::arg("value"))
      .def("quick_csr", &quick_csr_of, py::arg("bits"), py::arg("operand"))
      .def("set_interrupt", &set_interrupt, py::arg("number"), py::arg("level"))
      .def("set_guest_interrupt", &set_guest_interrupt, py::arg("guest"), py::arg("level"))
      .def("set_timer", &set_timer, py::arg("deadline"))
      .def_property_readonly("timer_to_come", &timer_to_come)
      .def("translate", &translate_address, py::arg("address"), py::arg("access") = "load",
           py::arg("privilege") = py::none(), py::arg("virtual") = py::none())
      .def("read", &read_virtual, py::arg("address"), py::arg("size"))
      .def(
          "write",
          [](const HartFace& f, u64 address, const py::bytes& data) {
            write_virtual(f, address, data);
          },
          py::arg("address"), py::arg("data"))
      .def(
          "step",
          [](const HartFace& f, u64 count) {
            return f.owner->run([&](System& system, const Poll& poll) {
              return system.step(f.index, count, poll);
            });
          },
          py::arg("count") = 1)
      .def("set_registers", &set_registers, py::arg("values"))
      .def("registers", &registers);
}

}  // namespace rvvm
