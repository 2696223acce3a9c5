#include "engine/quick_csr.hpp"

#include "hart/interrupts.hpp"
#include "semantics/csr.hpp"

namespace rvvm {

namespace {

// Status registers: what an interrupt would follow is taken back.
bool write_status_quickly(Cpu& cpu, const CsrRow& row, u64 value) {
  Hart& h = cpu.hart;
  const u64 mstatus = h.csr.mstatus, vsstatus = h.csr.vsstatus;
  write_csr(h, row, value);
  if (!h.stale) return true;
  if ((h.stale & stale_interrupts) && next_interrupt(h)) {
    h.csr.mstatus = mstatus;
    h.csr.vsstatus = vsstatus;
    h.stale = 0;
    return false;
  }
  h.stale &= ~stale_interrupts;
  cpu.settle();
  return true;
}

bool write_quickly(Cpu& cpu, const CsrRow& row, u64 value) {
  switch (row.written) {
    case CsrWrite::stores: write_csr(cpu.hart, row, value); return true;
    case CsrWrite::status: return write_status_quickly(cpu, row, value);
    case CsrWrite::other: break;
  }
  return false;
}

}  // namespace

QuickCsr quick_csr(Cpu& cpu, const Insn& insn, u64 operand, i64 left) noexcept {
  Hart& h = cpu.hart;
  const CsrChange change = change_of(insn.op);
  const bool writes = writes_csr(insn, change);
  const CsrRow* row = find_csr(h, insn.imm & 0xfff);
  if (!row || h.stale || check_csr_access(h, *row, writes) != Verdict::allowed) return {};
  if (h.mode.virt) row = &csr_table[row->guest];
  if (row->shows_wires || row->control == CsrControl::fp) return {};
  h.retired = cpu.limit - (left + 1);  // counters and `time` are offsets to it
  if (must_wait(h, *row)) return {};
  const u64 old = read_csr(h, *row);
  if (writes && !write_quickly(cpu, *row, changed(old, operand, change))) return {};
  note_time_read(h, *row, old);
  if (h.stale) cpu.settle();
  return {1, old};
}

}  // namespace rvvm
