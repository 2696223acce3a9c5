// What is architecturally nothing, or nearly: hints, fences of plain memory, may-be operations.
#pragma once

#include "isa/decode.hpp"

namespace rvvm {

// Unprivileged ISA, "Memory Ordering Instructions": as strong as any fence can ask for.
// The sets are device input, output, memory reads and writes, from bit 3 down. Of an order that a
// host does not keep by itself a model is told.
template <class M> void fence(M& m, const Insn& i) {
  constexpr i32 writes = 5, reads = 10;
  m.fence((i.imm >> 4 & writes) && (i.imm & reads));
}
template <class M> void fence_tso(M& m, const Insn&) { m.fence(false); }

// Unprivileged ISA, Zihintpause: "the current hart's rate of instruction retirement should be
// temporarily reduced".
template <class M> void pause(M& m, const Insn&) { m.relax(); }

// Unprivileged ISA, Zihintntl and Zicbop: no architectural effect. A prefetch "does
// not raise any exceptions".
template <class M> void ntl_p1(M&, const Insn&) {}
template <class M> void ntl_pall(M&, const Insn&) {}
template <class M> void ntl_s1(M&, const Insn&) {}
template <class M> void ntl_all(M&, const Insn&) {}
template <class M> void prefetch_i(M&, const Insn&) {}
template <class M> void prefetch_r(M&, const Insn&) {}
template <class M> void prefetch_w(M&, const Insn&) {}

// Unprivileged ISA, Zimop: "write zero to x[rd]".
template <class M> void mop_r(M& m, const Insn& i) { m.x(i.rd, 0); }
template <class M> void mop_rr(M& m, const Insn& i) { m.x(i.rd, 0); }

}  // namespace rvvm
