// Unprivileged ISA, Zicsr.
#pragma once
#include "hart/csr_file.hpp"
#include "hart/csr_rules.hpp"
#include "isa/decode.hpp"

namespace rvvm {

enum class CsrChange : u8 { replace, set, clear };

constexpr u64 changed(u64 old, u64 operand, CsrChange change) {
  switch (change) {
    case CsrChange::replace: return operand;
    case CsrChange::set: return old | operand;
    case CsrChange::clear: break;
  }
  return old & ~operand;
}

// "mip": a read-modify-write of SEIP starts from the software bit alone, not from the wire.
inline u64 modifiable(const Hart& h, const CsrRow& row, u64 value) {
  return row.csr == Csr::mip ? merge(value, h.csr.mip, irq::SEI) : value;
}

constexpr CsrChange change_of(Op op) {
  if (op == Op::csrrw || op == Op::csrrwi) return CsrChange::replace;
  return op == Op::csrrs || op == Op::csrrsi ? CsrChange::set : CsrChange::clear;
}
// csrrs and csrrc with x0 or 0 do not write at all, so that read-only CSRs can be read.
constexpr bool writes_csr(const Insn& i, CsrChange change) {
  return change == CsrChange::replace || i.rs1 != 0;
}

// What shows the time, or that a timer is due, waits for harts that have not come so far.
inline bool must_wait(const Hart& h, const CsrRow& row) {
  return (row.shows_wires || row.csr == Csr::time) && h.ahead();
}

// A hart that sees a timer's time come gets the interrupt then, not at the end of its turn.
inline void note_time_read(Hart& h, const CsrRow& row, u64 value) {
  if (row.csr != Csr::time) return;
  if (value - (h.mode.virt ? h.csr.htimedelta : 0) >= h.next_timer) h.stale |= stale_timers;
}

template <class M> void access_csr(M& m, const Insn& i, u64 operand, CsrChange change) {
  Hart& h = m.hart();
  const bool writes = writes_csr(i, change);
  const CsrRow* row = find_csr(h, i.imm & 0xfff);
  if (!row) return m.illegal();
  switch (check_csr_access(h, *row, writes)) {
    case Verdict::illegal_instruction: return m.illegal();
    case Verdict::virtual_instruction: return m.virtual_instruction();
    case Verdict::allowed: break;
  }
  if (h.mode.virt) row = &csr_table[row->guest];
  if (must_wait(h, *row)) return m.later();
  if (row->shows_wires) m.take_pins();
  const u64 old = read_csr(h, *row);
  note_time_read(h, *row, old);
  if (writes) write_csr(h, *row, changed(modifiable(h, *row, old), operand, change));
  m.x(i.rd, old);
}

// With rs1's value, or its number as the immediate.
template <Op O, class M> void access_csr_by_register(M& m, const Insn& i) {
  access_csr(m, i, m.x(i.rs1), change_of(O));
}
template <Op O, class M> void access_csr_by_immediate(M& m, const Insn& i) {
  access_csr(m, i, i.rs1, change_of(O));
}

template <class M> void csrrw(M& m, const Insn& i) { access_csr_by_register<Op::csrrw>(m, i); }
template <class M> void csrrs(M& m, const Insn& i) { access_csr_by_register<Op::csrrs>(m, i); }
template <class M> void csrrc(M& m, const Insn& i) { access_csr_by_register<Op::csrrc>(m, i); }
template <class M> void csrrwi(M& m, const Insn& i) { access_csr_by_immediate<Op::csrrwi>(m, i); }
template <class M> void csrrsi(M& m, const Insn& i) { access_csr_by_immediate<Op::csrrsi>(m, i); }
template <class M> void csrrci(M& m, const Insn& i) { access_csr_by_immediate<Op::csrrci>(m, i); }

}  // namespace rvvm
