// Unprivileged ISA, "RV32I Base Integer Instruction Set" and "RV64I Base Integer Instruction Set".
#pragma once

#include "isa/decode.hpp"
#include "semantics/values.hpp"

namespace rvvm {

template <class M> void lui(M& m, const Insn& i) { m.x(i.rd, i.imm); }
template <class M> void auipc(M& m, const Insn& i) { m.x(i.rd, m.pc() + i.imm); }

// The link is written together with the jump: a misaligned target raises and writes nothing.
template <class M> void jal(M& m, const Insn& i) { m.jump_and_link(i.rd, m.pc() + i.imm); }
template <class M> void jalr(M& m, const Insn& i) {
  m.jump_and_link(i.rd, (m.x(i.rs1) + i.imm) & ~1);
}

template <class M> void beq(M& m, const Insn& i) {
  m.branch(eq(m.x(i.rs1), m.x(i.rs2)), m.pc() + i.imm);
}
template <class M> void bne(M& m, const Insn& i) {
  m.branch(ne(m.x(i.rs1), m.x(i.rs2)), m.pc() + i.imm);
}
template <class M> void blt(M& m, const Insn& i) {
  m.branch(lt(m.x(i.rs1), m.x(i.rs2)), m.pc() + i.imm);
}
template <class M> void bge(M& m, const Insn& i) {
  m.branch(lt(m.x(i.rs1), m.x(i.rs2)) ^ 1, m.pc() + i.imm);
}
template <class M> void bltu(M& m, const Insn& i) {
  m.branch(ltu(m.x(i.rs1), m.x(i.rs2)), m.pc() + i.imm);
}
template <class M> void bgeu(M& m, const Insn& i) {
  m.branch(ltu(m.x(i.rs1), m.x(i.rs2)) ^ 1, m.pc() + i.imm);
}

template <class M> void addi(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) + i.imm); }
template <class M> void slti(M& m, const Insn& i) { m.x(i.rd, lt(m.x(i.rs1), i.imm)); }
template <class M> void sltiu(M& m, const Insn& i) { m.x(i.rd, ltu(m.x(i.rs1), i.imm)); }
template <class M> void xori(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) ^ i.imm); }
template <class M> void ori(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) | i.imm); }
template <class M> void andi(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) & i.imm); }
template <class M> void slli(M& m, const Insn& i) { m.x(i.rd, sll(m.x(i.rs1), i.imm)); }
template <class M> void srli(M& m, const Insn& i) { m.x(i.rd, srl(m.x(i.rs1), i.imm)); }
template <class M> void srai(M& m, const Insn& i) { m.x(i.rd, sra(m.x(i.rs1), i.imm)); }

template <class M> void add(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) + m.x(i.rs2)); }
template <class M> void sub(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) - m.x(i.rs2)); }
template <class M> void sll(M& m, const Insn& i) { m.x(i.rd, sll(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void slt(M& m, const Insn& i) { m.x(i.rd, lt(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void sltu(M& m, const Insn& i) { m.x(i.rd, ltu(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void xor_(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) ^ m.x(i.rs2)); }
template <class M> void srl(M& m, const Insn& i) { m.x(i.rd, srl(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void sra(M& m, const Insn& i) { m.x(i.rd, sra(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void or_(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) | m.x(i.rs2)); }
template <class M> void and_(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) & m.x(i.rs2)); }

// The words: "the lower 32 bits", sign-extended; a shift's amount is five bits.
template <class M> void addiw(M& m, const Insn& i) { m.x(i.rd, sext32(m.x(i.rs1) + i.imm)); }
template <class M> void slliw(M& m, const Insn& i) { m.x(i.rd, sext32(sll(m.x(i.rs1), i.imm))); }
template <class M> void srliw(M& m, const Insn& i) {
  m.x(i.rd, sext32(srl(zext32(m.x(i.rs1)), i.imm)));
}
template <class M> void sraiw(M& m, const Insn& i) { m.x(i.rd, sra(sext32(m.x(i.rs1)), i.imm)); }
template <class M> void addw(M& m, const Insn& i) {
  m.x(i.rd, sext32(m.x(i.rs1) + m.x(i.rs2)));
}
template <class M> void subw(M& m, const Insn& i) {
  m.x(i.rd, sext32(m.x(i.rs1) - m.x(i.rs2)));
}
template <class M> void sllw(M& m, const Insn& i) {
  m.x(i.rd, sext32(sll(m.x(i.rs1), m.x(i.rs2) & 31)));
}
template <class M> void srlw(M& m, const Insn& i) {
  m.x(i.rd, sext32(srl(zext32(m.x(i.rs1)), m.x(i.rs2) & 31)));
}
template <class M> void sraw(M& m, const Insn& i) {
  m.x(i.rd, sra(sext32(m.x(i.rs1)), m.x(i.rs2) & 31));
}

// Unprivileged ISA, Zicond.
template <class M> void czero_eqz(M& m, const Insn& i) {
  m.x(i.rd, select(eq(m.x(i.rs2), 0), 0, m.x(i.rs1)));
}
template <class M> void czero_nez(M& m, const Insn& i) {
  m.x(i.rd, select(ne(m.x(i.rs2), 0), 0, m.x(i.rs1)));
}

}  // namespace rvvm
