// What is architecturally nothing, or nearly: hints, fences of plain memory, may-be operations.
#pragma once

#include <atomic>

#include "isa/decode.hpp"

namespace rvvm {

// Unprivileged ISA, "Memory Ordering Instructions": as strong as any fence can ask for.
template <class M> void fence(M&, const Insn&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}
template <class M> void fence_tso(M&, const Insn&) {
  std::atomic_thread_fence(std::memory_order_acq_rel);
}

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
