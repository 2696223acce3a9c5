// Unprivileged ISA, "M" and "Zmmul".
#pragma once

#include "isa/decode.hpp"
#include "semantics/values.hpp"

namespace rvvm {

template <class M> void mul(M& m, const Insn& i) { m.x(i.rd, mul(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void mulh(M& m, const Insn& i) { m.x(i.rd, mulh(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void mulhu(M& m, const Insn& i) { m.x(i.rd, mulhu(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void mulhsu(M& m, const Insn& i) { m.x(i.rd, mulhsu(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void div(M& m, const Insn& i) { m.x(i.rd, div(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void divu(M& m, const Insn& i) { m.x(i.rd, divu(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void rem(M& m, const Insn& i) { m.x(i.rd, rem(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void remu(M& m, const Insn& i) { m.x(i.rd, remu(m.x(i.rs1), m.x(i.rs2))); }

// A word's special results are the low halves of the doubleword's: -1 and the dividend for a zero
// divisor, and -2^31 / -1 = 2^31, which is -2^31 as a word.
template <class M> void mulw(M& m, const Insn& i) {
  m.x(i.rd, sext32(mul(m.x(i.rs1), m.x(i.rs2))));
}
template <class M> void divw(M& m, const Insn& i) {
  m.x(i.rd, sext32(div(sext32(m.x(i.rs1)), sext32(m.x(i.rs2)))));
}
template <class M> void divuw(M& m, const Insn& i) {
  m.x(i.rd, sext32(divu(zext32(m.x(i.rs1)), zext32(m.x(i.rs2)))));
}
template <class M> void remw(M& m, const Insn& i) {
  m.x(i.rd, sext32(rem(sext32(m.x(i.rs1)), sext32(m.x(i.rs2)))));
}
template <class M> void remuw(M& m, const Insn& i) {
  m.x(i.rd, sext32(remu(zext32(m.x(i.rs1)), zext32(m.x(i.rs2)))));
}

}  // namespace rvvm
