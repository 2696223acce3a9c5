// The tables of the ISA, and decoding, as Python sees them.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "isa/decode.hpp"
#include "isa/disasm.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

struct FlagName {
  Flags flag;
  const char* name;
};

constexpr FlagName flag_names[] = {{flag::native, "native"}, {flag::helper, "helper"},
                                   {flag::jumps, "jumps"},   {flag::traps, "traps"},
                                   {flag::serial, "serial"}, {flag::fp, "fp"}};

py::list names_of(ExtSet set) {
  py::list names;
  for (const Extension& e : extensions)
    if (set.has(e.ext)) names.append(e.name);
  return names;
}

py::list names_of(Flags flags) {
  py::list names;
  for (const FlagName& f : flag_names)
    if (flags & f.flag) names.append(f.name);
  return names;
}

py::dict face(const Need& need) {
  py::dict d;
  d[need.any() ? "any" : "all"] = names_of(need.set());
  return d;
}

ExtSet parse(const std::optional<std::vector<std::string>>& names) {
  if (!names) return all_extensions();
  ExtSet set;
  for (const std::string& name : *names) {
    const auto found = find_extension(name);
    if (!found) throw py::value_error("unknown extension: " + name);
    set.insert(*found);
  }
  return closure(set);
}

py::dict face(const Row& r) {
  py::dict d;
  d["name"] = r.name;
  d["bits"] = r.bits;
  d["mask"] = r.mask();
  d["match"] = r.match();
  d["format"] = row(r.format).name;
  d["need"] = face(r.need);
  d["flags"] = names_of(r.flags);
  return d;
}

py::dict face(const CompressedRow& r) {
  py::dict d;
  d["name"] = r.name;
  d["bits"] = r.bits;
  d["mask"] = r.encoding.mask;
  d["match"] = r.encoding.match;
  d["expands_to"] = row(r.op).name;
  d["need"] = face(r.need);
  return d;
}

py::dict face(const Extension& e) {
  py::dict d;
  d["name"] = e.name;
  d["implies"] = names_of(e.implies);
  d["meaning"] = e.meaning;
  return d;
}

py::dict face(const Insn& insn) {
  py::dict d;
  d["name"] = row(insn.op).name;
  d["bits"] = insn.bits;
  d["length"] = insn.length;
  d["rd"] = insn.rd;
  d["rs1"] = insn.rs1;
  d["rs2"] = insn.rs2;
  d["rs3"] = insn.rs3;
  d["rm"] = insn.rm;
  d["imm"] = insn.imm;
  d["encoding"] = insn.op == Op::illegal ? insn.bits : encode(insn);
  return d;
}

template <class Rows>
py::list faces(const Rows& rows) {
  py::list list;
  for (const auto& r : rows) list.append(face(r));
  return list;
}

py::list instructions() {
  py::list list = faces(rows);
  list.attr("pop")(0);  // Op::illegal is no instruction
  return list;
}

}  // namespace

void bind_isa(py::module_& m) {
  m.def("instructions", &instructions, "The rows of instructions.inc.");
  m.def("compressed", [] { return faces(compressed_rows); }, "The rows of compressed.inc.");
  m.def("extensions", [] { return faces(extensions); }, "The rows of extensions.inc.");
  m.def(
      "decode",
      [](u32 bits, const std::optional<std::vector<std::string>>& names) {
        return face(decode(bits, parse(names)));
      },
      py::arg("bits"), py::arg("extensions") = py::none(),
      "The instruction at the start of bits, on a hart with these extensions or with all.");
  m.def(
      "disassemble",
      [](u32 bits, u64 pc) { return disassemble(decode(bits, all_extensions()), pc); },
      py::arg("bits"), py::arg("pc") = 0, "The text of the instruction at the start of bits.");
}

}  // namespace rvvm
