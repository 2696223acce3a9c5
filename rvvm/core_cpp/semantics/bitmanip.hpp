// Unprivileged ISA, "B": Zba Zbb Zbc Zbs, and the cryptography scalar parts Zbkb Zbkc Zbkx.
#pragma once

#include "isa/decode.hpp"
#include "semantics/values.hpp"

namespace rvvm {

// Zba
template <class M> void add_uw(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + zext32(m.x(i.rs1)));
}
template <class M> void sh1add(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(m.x(i.rs1), 1));
}
template <class M> void sh2add(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(m.x(i.rs1), 2));
}
template <class M> void sh3add(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(m.x(i.rs1), 3));
}
template <class M> void sh1add_uw(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(zext32(m.x(i.rs1)), 1));
}
template <class M> void sh2add_uw(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(zext32(m.x(i.rs1)), 2));
}
template <class M> void sh3add_uw(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs2) + sll(zext32(m.x(i.rs1)), 3));
}
template <class M> void slli_uw(M& m, const Insn& i) {
  m.x(i.rd, sll(zext32(m.x(i.rs1)), i.imm));
}

// Zbb: logic with a complement
template <class M> void andn(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) & ~m.x(i.rs2)); }
template <class M> void orn(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) | ~m.x(i.rs2)); }
template <class M> void xnor(M& m, const Insn& i) { m.x(i.rd, ~(m.x(i.rs1) ^ m.x(i.rs2))); }

// Zbb: counts. Of a word, a zero counts 32.
template <class M> void clz(M& m, const Insn& i) { m.x(i.rd, clz(m.x(i.rs1))); }
template <class M> void ctz(M& m, const Insn& i) { m.x(i.rd, ctz(m.x(i.rs1))); }
template <class M> void cpop(M& m, const Insn& i) { m.x(i.rd, cpop(m.x(i.rs1))); }
template <class M> void clzw(M& m, const Insn& i) { m.x(i.rd, clz(zext32(m.x(i.rs1))) - 32); }
template <class M> void ctzw(M& m, const Insn& i) {
  m.x(i.rd, ctz(m.x(i.rs1) | u64{1} << 32));
}
template <class M> void cpopw(M& m, const Insn& i) { m.x(i.rd, cpop(zext32(m.x(i.rs1)))); }

// Zbb: extremes
template <class M> void max(M& m, const Insn& i) {
  const auto a = m.x(i.rs1), b = m.x(i.rs2);
  m.x(i.rd, select(lt(a, b), b, a));
}
template <class M> void maxu(M& m, const Insn& i) {
  const auto a = m.x(i.rs1), b = m.x(i.rs2);
  m.x(i.rd, select(ltu(a, b), b, a));
}
template <class M> void min(M& m, const Insn& i) {
  const auto a = m.x(i.rs1), b = m.x(i.rs2);
  m.x(i.rd, select(lt(a, b), a, b));
}
template <class M> void minu(M& m, const Insn& i) {
  const auto a = m.x(i.rs1), b = m.x(i.rs2);
  m.x(i.rd, select(ltu(a, b), a, b));
}

// Zbb: extensions
template <class M> void sext_b(M& m, const Insn& i) { m.x(i.rd, sext8(m.x(i.rs1))); }
template <class M> void sext_h(M& m, const Insn& i) { m.x(i.rd, sext16(m.x(i.rs1))); }
template <class M> void zext_h(M& m, const Insn& i) { m.x(i.rd, zext16(m.x(i.rs1))); }

// Zbb: rotations
template <class M> void rol(M& m, const Insn& i) { m.x(i.rd, rotl(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void ror(M& m, const Insn& i) { m.x(i.rd, rotr(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void rori(M& m, const Insn& i) { m.x(i.rd, rotr(m.x(i.rs1), i.imm)); }

// A word beside itself rotates as a doubleword does.
template <class U> U doubled(U word) { return zext32(word) | sll(word, 32); }
template <class M> void rolw(M& m, const Insn& i) {
  m.x(i.rd, sext32(rotl(doubled(m.x(i.rs1)), m.x(i.rs2) & 31)));
}
template <class M> void rorw(M& m, const Insn& i) {
  m.x(i.rd, sext32(rotr(doubled(m.x(i.rs1)), m.x(i.rs2) & 31)));
}
template <class M> void roriw(M& m, const Insn& i) {
  m.x(i.rd, sext32(rotr(doubled(m.x(i.rs1)), i.imm)));
}

// Zbb: bytes
template <class M> void orc_b(M& m, const Insn& i) { m.x(i.rd, orc_b(m.x(i.rs1))); }
template <class M> void rev8(M& m, const Insn& i) { m.x(i.rd, rev8(m.x(i.rs1))); }

// Zbc
template <class M> void clmul(M& m, const Insn& i) { m.x(i.rd, clmul(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void clmulh(M& m, const Insn& i) { m.x(i.rd, clmulh(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void clmulr(M& m, const Insn& i) { m.x(i.rd, clmulr(m.x(i.rs1), m.x(i.rs2))); }

// Zbs
template <class M> void bclr(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs1) & ~sll(typename M::U{1}, m.x(i.rs2)));
}
template <class M> void bext(M& m, const Insn& i) {
  m.x(i.rd, srl(m.x(i.rs1), m.x(i.rs2)) & 1);
}
template <class M> void binv(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs1) ^ sll(typename M::U{1}, m.x(i.rs2)));
}
template <class M> void bset(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs1) | sll(typename M::U{1}, m.x(i.rs2)));
}
template <class M> void bclri(M& m, const Insn& i) {
  m.x(i.rd, m.x(i.rs1) & ~(u64{1} << i.imm));
}
template <class M> void bexti(M& m, const Insn& i) { m.x(i.rd, srl(m.x(i.rs1), i.imm) & 1); }
template <class M> void binvi(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) ^ u64{1} << i.imm); }
template <class M> void bseti(M& m, const Insn& i) { m.x(i.rd, m.x(i.rs1) | u64{1} << i.imm); }

// Zbkb
template <class M> void pack(M& m, const Insn& i) {
  m.x(i.rd, zext32(m.x(i.rs1)) | sll(m.x(i.rs2), 32));
}
template <class M> void packh(M& m, const Insn& i) {
  m.x(i.rd, zext8(m.x(i.rs1)) | sll(zext8(m.x(i.rs2)), 8));
}
template <class M> void packw(M& m, const Insn& i) {
  m.x(i.rd, sext32(zext16(m.x(i.rs1)) | sll(m.x(i.rs2), 16)));
}

// Exchange neighbouring groups of `width` bits; `low` marks the lower group of each pair.
template <class U> U exchange(U a, i32 width, u64 low) {
  return (srl(a, width) & low) | sll(a & low, width);
}
template <class M> void brev8(M& m, const Insn& i) {
  const auto bits = exchange(m.x(i.rs1), 1, 0x5555'5555'5555'5555);
  const auto pairs = exchange(bits, 2, 0x3333'3333'3333'3333);
  m.x(i.rd, exchange(pairs, 4, 0x0f0f'0f0f'0f0f'0f0f));
}

// Zbkx
template <class M> void xperm4(M& m, const Insn& i) { m.x(i.rd, xperm4(m.x(i.rs1), m.x(i.rs2))); }
template <class M> void xperm8(M& m, const Insn& i) { m.x(i.rd, xperm8(m.x(i.rs1), m.x(i.rs2))); }

}  // namespace rvvm
