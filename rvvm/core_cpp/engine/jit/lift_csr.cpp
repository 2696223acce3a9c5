// CSR instructions on the CSRs that only store, and on those of floating point.
#include "engine/jit/lifter.hpp"
#include "semantics/csr.hpp"

namespace rvvm::jit {

namespace {

struct CsrInstruction {
  CsrChange change;
  bool immediate;
};

CsrInstruction instruction_of(Op op) {
  switch (op) {
    case Op::csrrw: return {CsrChange::replace, false};
    case Op::csrrs: return {CsrChange::set, false};
    case Op::csrrc: return {CsrChange::clear, false};
    case Op::csrrwi: return {CsrChange::replace, true};
    case Op::csrrsi: return {CsrChange::set, true};
    default: return {CsrChange::clear, true};
  }
}

bool fits(u64 mask) { return static_cast<u64>(static_cast<i64>(static_cast<i32>(mask))) == mask; }

// rdx = the operand combined with the old value in rax, no more than `mask`.
void combine(Emitter& e, CsrChange change, i32 mask) {
  if (change == CsrChange::set) e.alu(Alu::or_, rdx, rax);
  if (change == CsrChange::clear) {
    e.unary(MulDiv::not_, rdx);
    e.alu(Alu::and_, rdx, rax);
  }
  e.alu32(Alu::and_, rdx, mask);
}

}  // namespace

// rax has what a read shows, rdx what is written, rcx the bank.
void Lifter::csr(const Insn& i, const PlainCsr& csr) {
  const auto [change, immediate] = instruction_of(i.op);
  const bool writes = change == CsrChange::replace || i.rs1;
  if ((writes && csr.read_only) || !fits(csr.read) || !fits(csr.write))
    return void(supported_ = false);
  e.cmp8(layout.cpu_field(layout.csr_reach), csr.privilege);
  miss_if(Cond::b);
  Mem word = layout.cpu_field(layout.csrs + static_cast<i32>(csr.offset));
  if (csr.banked) {
    e.mov(rcx, layout.cpu_field(layout.csr_bank));
    word.index = rcx;
  }
  e.mov(rax, word);
  if (csr.read != ~u64{0}) e.alu(Alu::and_, rax, static_cast<i32>(csr.read));
  if (writes) {
    if (immediate)
      e.mov_imm(rdx, i.rs1);
    else
      e.mov(rdx, integer_in(i.rs1, rdx));
    if (change == CsrChange::set) e.alu(Alu::or_, rdx, rax);
    if (change == CsrChange::clear) {
      e.unary(MulDiv::not_, rdx);
      e.alu(Alu::and_, rdx, rax);
    }
    if (csr.write == ~u64{0}) {
      e.mov(word, rdx);
    } else {  // word ^= (word ^ value) & mask
      e.alu(Alu::xor_, rdx, word);
      e.alu(Alu::and_, rdx, static_cast<i32>(csr.write));
      e.alu(Alu::xor_, word, rdx);
    }
  }
  put_integer(i.rd, rax);
}

// ---- fflags, frm and fcsr, while floating-point registers are live: fcsr and the host's sticky
// flags together are what accrued. FS is dirty then (load_fp), and stays so.

// rcx = the flags that MXCSR has collected, which is in memory then; rax = fcsr with them.
void Lifter::collect_fflags() {
  e.stmxcsr(layout.cpu_field(layout.mxcsr));
  e.load(rcx, layout.cpu_field(layout.mxcsr), Width::b4, false);
  e.alu32(Alu::and_, rcx, mxcsr::sticky);
  Mem flags = layout.cpu_field(layout.fflags_of_mxcsr);
  flags.index = rcx;
  e.load(rcx, flags, Width::b1, false);
  e.load(rax, layout.cpu_field(layout.fcsr), Width::b1, false);
  e.alu(Alu::or_, rax, rcx);
}

// The host may keep what it has collected if that is part of the new value, as it is where flags
// are read before and written back after something: MXCSR is slow to write. Changes all three.
void Lifter::write_fflags() {
  e.mov(rax, rdx);
  e.unary(MulDiv::not_, rax);
  e.alu(Alu::and_, rax, rcx);
  u8* keeps = e.jcc(Cond::e);
  e.load(rax, layout.cpu_field(layout.mxcsr), Width::b4, false);
  e.alu32(Alu::and_, rax, ~static_cast<i32>(mxcsr::sticky));
  e.store(layout.cpu_field(layout.mxcsr), rax, Width::b4);
  e.ldmxcsr(layout.cpu_field(layout.mxcsr));
  e.link_here(keeps);
  e.load(rax, layout.cpu_field(layout.fcsr), Width::b1, false);
  e.alu32(Alu::and_, rax, static_cast<i32>(0xff & ~fcsr_flags));
  e.alu(Alu::or_, rax, rdx);
  e.store(layout.cpu_field(layout.fcsr), rax, Width::b1);
}

// The interpreter writes a rounding mode that the host has not. Keeps rax.
void Lifter::write_fcsr(CsrChange change, bool frm_alone) {
  if (frm_alone) {
    e.alu32(Alu::and_, rdx, 7);
    e.shift(Shift::shl, rdx, fcsr_frm_shift);
    if (change == CsrChange::replace) {
      e.mov(rcx, rax);
      e.alu32(Alu::and_, rcx, static_cast<i32>(fcsr_flags));
      e.alu(Alu::or_, rdx, rcx);
    }
  }
  combine(e, change, 0xff);
  e.mov(rcx, rdx);
  e.shift(Shift::shr, rcx, fcsr_frm_shift);
  Mem of_frm = layout.cpu_field(layout.mxcsr_of_frm);
  of_frm.index = rcx;
  of_frm.scale = 2;
  e.load(rcx, of_frm, Width::b4, false);
  e.test32(rcx, rcx);
  miss_if(Cond::e);
  e.store(layout.cpu_field(layout.fcsr), rdx, Width::b1);
  e.alu32(Alu::cmp, rcx, layout.cpu_field(layout.mxcsr));
  u8* same = e.jcc(Cond::e);
  e.store(layout.cpu_field(layout.mxcsr), rcx, Width::b4);
  e.ldmxcsr(layout.cpu_field(layout.mxcsr));
  e.link_here(same);
}

void Lifter::float_csr(const Insn& i) {
  const auto [change, immediate] = instruction_of(i.op);
  const auto csr = static_cast<Csr>(i.imm & 0xfff);
  const bool writes = writes_csr(i, change);
  require_float();
  if (writes || csr != Csr::frm)
    collect_fflags();
  else
    e.load(rax, layout.cpu_field(layout.fcsr), Width::b1, false);
  if (writes && immediate) e.mov_imm(rdx, i.rs1);
  if (writes && !immediate) e.mov(rdx, integer_in(i.rs1, rdx));
  if (csr == Csr::fflags) e.alu32(Alu::and_, rax, static_cast<i32>(fcsr_flags));
  if (writes && csr != Csr::fflags) write_fcsr(change, csr == Csr::frm);
  if (csr == Csr::frm) e.shift(Shift::shr, rax, fcsr_frm_shift);
  if (writes && csr == Csr::fflags) combine(e, change, static_cast<i32>(fcsr_flags));
  put_integer(i.rd, rax);
  if (writes && csr == Csr::fflags) write_fflags();
}

void Lifter::csr(const Insn& i, const Step* step, unsigned done, const u8* quick_csr) {
  if (instruction_of(i.op).immediate)
    e.mov_imm(rdx, i.rs1);
  else
    e.mov(rdx, integer_in(i.rs1, rdx));
  e.mov_imm(rax, reinterpret_cast<u64>(step));
  e.mov_imm(rcx, done);
  e.link(e.call(), quick_csr);
  e.test32(rax, rax);
  miss_if(Cond::e);
  put_integer(i.rd, rdx);
  facts = {};
}

}  // namespace rvvm::jit
