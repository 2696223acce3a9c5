// _core.softfloat: the floating-point instruction bodies on bare operands, for tests and notebooks.
#include <pybind11/pybind11.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "isa/decode.hpp"
#include "semantics/floating.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

// Three operands that are x and f registers alike, numbered from 1, and a result.
struct Bench {
  std::array<u64, 4> registers{};
  u64 result = 0;
  u8 rm = 0;
  u8 flags = 0;
  u8 accrued = 0;
  bool fast = false;
  bool reserved = false;

  u64 x(u8 r) const { return registers[r]; }
  u64 f(u8 r) const { return registers[r]; }
  void x(u8, u64 value) { result = value; }
  void f(u8, u64 value) { result = value; }

  template <class Tag> void fp(const Insn& i) {
    fp::Env env{Tag::rounds ? rm : u8{fp::RNE}, 0};
    reserved = fp::reserved(env.rm);
    if (reserved) return;
    const u64 a = x(i.rs1), b = x(i.rs2), c = x(i.rs3);
    result = fast ? fp::evaluate<Tag>(env, accrued, a, b, c) : fp::evaluate_soft<Tag>(env, a, b, c);
    flags = env.flags;
  }
};

constexpr bool calculates(const Row& r) {
  return r.is(flag::fp) && r.format != Format::FLoad && r.format != Format::FStore;
}

using Body = void (*)(Bench&, const Insn&);

template <class M> constexpr std::array<void (*)(M&, const Insn&), op_count> make_bodies() {
  std::array<void (*)(M&, const Insn&), op_count> all{};
#define X(name, bits, format, need, flags) \
  if constexpr (calculates(row(Op::name))) \
    all[static_cast<std::size_t>(Op::name)] = [](M& m, const Insn& i) { name(m, i); };
#include "isa/instructions.inc"
#undef X
  return all;
}

constexpr std::array<Body, op_count> bodies = make_bodies<Bench>();

std::size_t find(const std::string& name) {
  for (std::size_t op = 0; op < op_count; ++op) {
    if (bodies[op] && rows[op].name == name) return op;
  }
  throw py::key_error("not a floating-point operation: " + name);
}

// How to evaluate: the fast way depends on the flags already accrued.
struct Setting {
  unsigned rm;
  bool fast;
  unsigned accrued;
};

Bench run(std::size_t op, const u64* operands, const Setting& s) {
  Bench bench{.registers = {0, operands[0], operands[1], operands[2]},
              .rm = u8(s.rm),
              .accrued = u8(s.accrued),
              .fast = s.fast};
  Insn insn{.op = static_cast<Op>(op), .rs1 = 1, .rs2 = 2, .rs3 = 3};
  if (rows[op].format == Format::Fli) insn.rs1 = operands[0] & 31;
  bodies[op](bench, insn);
  if (bench.reserved) throw py::value_error("reserved rounding mode");
  return bench;
}

py::list names() {
  py::list all;
  for (std::size_t op = 0; op < op_count; ++op) {
    if (bodies[op]) all.append(rows[op].name);
  }
  return all;
}

py::tuple evaluate(const std::string& name, u64 a, u64 b, u64 c, unsigned rm, bool fast,
                   unsigned accrued) {
  const u64 operands[] = {a, b, c};
  const Bench bench = run(find(name), operands, {rm, fast, accrued});
  return py::make_tuple(bench.result, bench.flags);
}

py::bytes evaluate_many(const std::string& name, const py::buffer& operands, unsigned rm, bool fast,
                        unsigned accrued) {
  const py::buffer_info info = operands.request();
  const auto count = static_cast<std::size_t>(info.size * info.itemsize) / sizeof(u64[3]);
  const std::size_t op = find(name);
  std::vector<u64> pairs;
  pairs.reserve(2 * count);
  for (std::size_t n = 0; n < count; ++n) {
    u64 triple[3];
    std::memcpy(triple, static_cast<const char*>(info.ptr) + n * sizeof triple, sizeof triple);
    const Bench bench = run(op, triple, {rm, fast, accrued});
    pairs.insert(pairs.end(), {bench.result, bench.flags});
  }
  return {reinterpret_cast<const char*>(pairs.data()), pairs.size() * sizeof(u64)};
}

}  // namespace

void bind_softfloat(py::module_& m) {
  py::module_ s = m.def_submodule("softfloat", "Floating-point instructions on bare operands.");
  s.def("names", &names, "The instructions that can be evaluated, with _ for dots.");
  s.def("evaluate", &evaluate, py::arg("name"), py::arg("a"), py::arg("b") = 0, py::arg("c") = 0,
        py::arg("rm") = 0, py::arg("fast") = false, py::arg("accrued") = 0,
        "(result, flags) of one instruction on raw register values; fast: as the engines do it.");
  s.def("evaluate_many", &evaluate_many, py::arg("name"), py::arg("operands"), py::arg("rm") = 0,
        py::arg("fast") = false, py::arg("accrued") = 0,
        "The same for u64 triples (a, b, c) in native byte order; returns u64 pairs.");
}

}  // namespace rvvm
