// Unprivileged ISA, "Load and Store Instructions" of RV32I and RV64I.
#pragma once

#include "isa/decode.hpp"
#include "semantics/values.hpp"

namespace rvvm {

template <class T, class M> void load_integer(M& m, const Insn& i) {
  m.template load<T>(i.rd, m.x(i.rs1) + i.imm);
}
template <class M> void lb(M& m, const Insn& i) { load_integer<i8>(m, i); }
template <class M> void lh(M& m, const Insn& i) { load_integer<i16>(m, i); }
template <class M> void lw(M& m, const Insn& i) { load_integer<i32>(m, i); }
template <class M> void ld(M& m, const Insn& i) { load_integer<u64>(m, i); }
template <class M> void lbu(M& m, const Insn& i) { load_integer<u8>(m, i); }
template <class M> void lhu(M& m, const Insn& i) { load_integer<u16>(m, i); }
template <class M> void lwu(M& m, const Insn& i) { load_integer<u32>(m, i); }

template <class T, class M> void store_integer(M& m, const Insn& i) {
  m.template store<T>(m.x(i.rs1) + i.imm, m.x(i.rs2));
}
template <class M> void sb(M& m, const Insn& i) { store_integer<u8>(m, i); }
template <class M> void sh(M& m, const Insn& i) { store_integer<u16>(m, i); }
template <class M> void sw(M& m, const Insn& i) { store_integer<u32>(m, i); }
template <class M> void sd(M& m, const Insn& i) { store_integer<u64>(m, i); }

}  // namespace rvvm
