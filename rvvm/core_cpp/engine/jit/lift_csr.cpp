// CSR instructions on the CSRs that only store.
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
