// Writes x86-64 machine code: just the encodings that the translator uses.
// Intel SDM volume 2, "Instruction Format": prefixes, REX, opcode, ModRM, SIB, displacement,
// immediate.
#pragma once
#include <cstring>

#include "isa/types.hpp"

namespace rvvm::jit {

enum Reg : u8 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };
enum Xmm : u8 {
  xmm0,
  xmm1,
  xmm2,
  xmm3,
  xmm4,
  xmm5,
  xmm6,
  xmm7,
  xmm8,
  xmm9,
  xmm10,
  xmm11,
  xmm12,
  xmm13,
  xmm14,
  xmm15,
  xmm16,
  xmm17,
  xmm18,
  xmm19,
  xmm20,
  xmm21,
  xmm22,
  xmm23,
  xmm24,
  xmm25,
  xmm26,
  xmm27,
  xmm28,
  xmm29,
  xmm30,
  xmm31
};

struct Mem {
  Reg base;
  i32 disp = 0;
  Reg index = rsp;  // rsp stands for none
  u8 scale = 0;     // log2
};

// Condition codes as in the opcodes of jcc, setcc and cmovcc.
enum class Cond : u8 { o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g };
constexpr Cond operator!(Cond c) { return static_cast<Cond>(static_cast<u8>(c) ^ 1); }

enum class Alu : u8 { add = 0, or_ = 1, and_ = 4, sub = 5, xor_ = 6, cmp = 7 };
enum class Shift : u8 { ror = 1, shl = 4, shr = 5, sar = 7 };
enum class MulDiv : u8 { not_ = 2, neg = 3, mul = 4, imul = 5, div = 6, idiv = 7 };
enum class Sse : u8 {
  sqrt = 0x51,
  add = 0x58,
  mul = 0x59,
  sub = 0x5c,
  min = 0x5d,
  div = 0x5e,
  max = 0x5f
};
enum class Packed : u8 { equal_bytes = 0x74, and_ = 0xdb, or_ = 0xeb, xor_ = 0xef };  // of integers
enum class Width : u8 { b1, b2, b4, b8 };

class Emitter {
 public:
  // `write` is where bytes go, `run` where they will execute: two views of one memory.
  // With `vex` floating point is encoded as AVX has it.
  Emitter(u8* write, const u8* run, const u8* end, bool vex)
      : at_{write}, run_{run - write}, end_{end}, vex_{vex} {}

  u8* at() const { return at_; }
  const u8* here() const { return at_ + run_; }
  bool full() const { return end_ - at_ < 256; }

  // ---- Moves
  void mov(Reg d, Reg s) {
    if (d != s) rr(0x8b, d, s);
  }
  void mov32(Reg d, Reg s) { rr(0x8b, d, s, false); }
  void mov(Reg d, Mem s) { rm(0x8b, d, s); }
  void mov(Mem d, Reg s) { rm(0x89, s, d); }
  void mov(Mem d, i32 imm) {
    rm(0xc7, 0, d);
    u32le(imm);
  }
  void mov_imm(Reg d, u64 value) {
    if (value == 0) return rr(0x33, d, d, false);
    if (value >> 32 == 0) {
      rex(false, 0, 0, d);
      byte(0xb8 | (d & 7));
      return u32le(value);
    }
    if (static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value) {
      rex(true, 0, 0, d);
      byte(0xc7);
      byte(0xc0 | (d & 7));
      return u32le(value);
    }
    rex(true, 0, 0, d);
    byte(0xb8 | (d & 7));
    u64le(value);
  }
  void mov_keeping_flags(Reg d, u64 value) {
    if (value) return mov_imm(d, value);
    rex(false, 0, 0, d);
    byte(0xb8 | (d & 7));
    u32le(0);
  }
  void store_imm32(Mem m, i32 imm) {
    rm(0xc7, 0, m, false);
    u32le(imm);
  }
  void lea(Reg d, Mem m) { rm(0x8d, d, m); }
  void lea32(Reg d, Mem m) { rm(0x8d, d, m, false); }
  // Sign- or zero-extending loads and moves.
  void load(Reg d, Mem m, Width w, bool sign) {
    if (w == Width::b8) return rm(0x8b, d, m);
    if (w == Width::b4) return sign ? rm(0x63, d, m) : rm(0x8b, d, m, false);
    rm(two(extend_opcode(w, sign)), d, m, sign);
  }
  void extend(Reg d, Reg s, Width w, bool sign) {
    if (w == Width::b4 && sign && d == rax && s == rax) return cdqe();
    if (w == Width::b4) return sign ? rr(0x63, d, s) : rr(0x8b, d, s, false);
    rr(two(extend_opcode(w, sign)), d, s, sign, w == Width::b1);
  }
  void store(Mem m, Reg s, Width w) {
    if (w == Width::b2) byte(0x66);
    rm(w == Width::b1 ? 0x88 : 0x89, s, m, w == Width::b8, w == Width::b1);
  }

  // ---- Integer arithmetic
  void alu(Alu op, Reg d, Reg s) { rr(static_cast<u8>(op) << 3 | 3, d, s); }
  void alu(Alu op, Reg d, Mem s) { rm(static_cast<u8>(op) << 3 | 3, d, s); }
  void alu32(Alu op, Reg d, Mem s) { rm(static_cast<u8>(op) << 3 | 3, d, s, false); }
  void alu(Alu op, Mem d, Reg s) { rm(static_cast<u8>(op) << 3 | 1, s, d); }
  void alu(Alu op, Mem d, i32 imm) {
    const bool small = imm >= -128 && imm < 128;
    rm(small ? 0x83 : 0x81, static_cast<u8>(op), d);
    small ? byte(imm) : u32le(imm);
  }
  void alu(Alu op, Reg d, i32 imm) {
    rex(true, 0, 0, d);
    alu_imm(op, 0xc0 | (d & 7), imm);
  }
  void alu32(Alu op, Reg d, i32 imm) {
    rex(false, 0, 0, d);
    alu_imm(op, 0xc0 | (d & 7), imm);
  }
  void cmp8(Mem m, u8 imm) {
    rm(0x80, 7, m, false);
    byte(imm);
  }
  void cmp32(Mem m, i32 imm) {
    rm(0x81, 7, m, false);
    u32le(imm);
  }
  void test8(Mem m, u8 imm) {
    rm(0xf6, 0, m, false);
    byte(imm);
  }
  void test8(Reg r, u8 imm) {
    rex(false, 0, 0, r, true);
    byte(0xf6);
    byte(0xc0 | (r & 7));
    byte(imm);
  }
  void store8(Mem m, u8 imm) {
    rm(0xc6, 0, m, false);
    byte(imm);
  }
  void or8(Mem m, Reg s) { rm(0x08, s, m, false, true); }
  void test(Reg a, Reg b) { rr(0x85, b, a); }
  void test32(Reg a, Reg b) { rr(0x85, b, a, false); }
  void shift(Shift op, Reg d, u8 amount, bool wide = true) {
    if (!amount) return;
    rex(wide, 0, 0, d);
    byte(0xc1);
    byte(0xc0 | static_cast<u8>(op) << 3 | (d & 7));
    byte(amount);
  }
  void shift(Shift op, Mem d, u8 amount) {
    if (!amount) return;
    rm(0xc1, static_cast<u8>(op), d);
    byte(amount);
  }
  // BMI2: the amount in a register, masked to 6 bits, no flags. shlx 66, sarx F3, shrx F2.
  void shiftx(Shift op, Reg d, Reg s, Reg amount) {
    const u8 pp = op == Shift::shl ? 1 : op == Shift::sar ? 2 : 3;
    byte(0xc4);
    byte((d < 8 ? 0x80 : 0) | 0x40 | (s < 8 ? 0x20 : 0) | 2);
    byte(0x80 | (~amount & 15) << 3 | pp);
    byte(0xf7);
    byte(0xc0 | (d & 7) << 3 | (s & 7));
  }
  void imul(Reg d, Reg s) { rr(two(0xaf), d, s); }
  void imul(Reg d, Mem s) { rm(two(0xaf), d, s); }
  void unary(MulDiv op, Reg r) {
    rex(true, 0, 0, r);
    byte(0xf7);
    byte(0xc0 | static_cast<u8>(op) << 3 | (r & 7));
  }
  void cdqe() {
    byte(0x48);
    byte(0x98);
  }
  void cqo() {
    byte(0x48);
    byte(0x99);
  }
  void bswap(Reg r) {
    rex(true, 0, 0, r);
    byte(0x0f);
    byte(0xc8 | (r & 7));
  }
  void count(u8 opcode, Reg d, Reg s) {
    byte(0xf3);
    rr(two(opcode), d, s);
  }                            // b8 popcnt bc tzcnt bd lzcnt
  void setcc(Cond c, Reg d) {  // all of d
    rex(false, 0, 0, d, true);
    byte(0x0f);
    byte(0x90 | static_cast<u8>(c));
    byte(0xc0 | (d & 7));
    extend(d, d, Width::b1, false);
  }
  // Compares rax with memory, and stores `s` there when they are equal (ZF); else loads rax.
  void lock_cmpxchg(Mem m, Reg s, bool wide) {
    byte(0xf0);
    rm(two(0xb1), s, m, wide);
  }
  void cmov(Cond c, Reg d, Reg s) { rr(two(0x40 | static_cast<u8>(c)), d, s); }

  // ---- Control flow. Jumps return where their displacement is, for link().
  u8* jcc(Cond c) {
    byte(0x0f);
    byte(0x80 | static_cast<u8>(c));
    return displacement();
  }
  u8* jmp() {
    byte(0xe9);
    return displacement();
  }
  u8* call() {
    byte(0xe8);
    return displacement();
  }
  void jmp(Mem m) { rm(0xff, 4, m, false); }
  void jmp(Reg r) {
    rex(false, 0, 0, r);
    byte(0xff);
    byte(0xe0 | (r & 7));
  }
  void call(Reg r) {
    rex(false, 0, 0, r);
    byte(0xff);
    byte(0xd0 | (r & 7));
  }
  void push(Reg r) {
    rex(false, 0, 0, r);
    byte(0x50 | (r & 7));
  }
  void pop(Reg r) {
    rex(false, 0, 0, r);
    byte(0x58 | (r & 7));
  }
  void mfence() {
    byte(0x0f);
    byte(0xae);
    byte(0xf0);
  }
  void ret() { byte(0xc3); }
  // The displacement of the next jmp() is aligned.
  void align_jump() {
    while ((reinterpret_cast<u64>(at_) + 1) % 4) byte(0x90);
  }
  // Makes the jump at `site` lead to `target` (an address to execute).
  void link(u8* site, const u8* target) const {
    const i64 offset = target - (site + run_ + 4);
    const i32 narrow = static_cast<i32>(offset);
    std::memcpy(site, &narrow, 4);  // one store, which others see as a whole where it is aligned
  }
  void link_here(u8* site) const { link(site, here()); }

  // ---- Floating point: `wide` is double. With three operands d must not be b, where the host has
  // only SSE; xmm16 and above want AVX-512.
  void movs(Xmm d, Mem s, bool wide) { vector(scalar(0x10, wide), d, none, s); }
  void movs(Mem d, Xmm s, bool wide) { vector(scalar(0x11, wide), s, none, d); }
  void mova(Xmm d, Xmm s) {
    if (d != s) vector({0, 0x28, false}, d, none, s);
  }
  void movq(Xmm d, Reg s) { vector({1, 0x6e, true}, d, none, s); }
  void movq(Reg d, Xmm s) { vector({1, 0x7e, true}, s, none, d); }
  void packed(Packed op, Xmm d, Xmm a, Mem b) { vector(packed(op), d, a, b); }
  void packed(Packed op, Xmm d, Xmm a, Xmm b) { vector(packed(op), d, a, b); }
  void sse(Sse op, Xmm d, Xmm a, Xmm b, bool wide) {
    vector(scalar(static_cast<u8>(op), wide), d, a, b);
  }
  void ucomis(Xmm a, Xmm b, bool wide) { vector({wide, 0x2e, wide}, a, none, b); }
  void comis(Xmm a, Xmm b, bool wide) { vector({wide, 0x2f, wide}, a, none, b); }
  // What these do not write comes from `a`.
  void cvt_from_int(Xmm d, Xmm a, Reg s, bool wide, bool long_) {
    vector({scalar_prefix(wide), 0x2a, long_}, d, a, s);
  }
  void cvt_float(Xmm d, Xmm a, Xmm s, bool from_wide) { vector(scalar(0x5a, from_wide), d, a, s); }
  // Towards zero, or as MXCSR rounds.
  void cvtt_to_int(Reg d, Xmm s, bool wide, bool long_) {
    vector({scalar_prefix(wide), 0x2c, long_}, d, none, s);
  }
  void cvt_to_int(Reg d, Xmm s, bool wide, bool long_) {
    vector({scalar_prefix(wide), 0x2d, long_}, d, none, s);
  }
  // To an integer in the same format, by AVX and below xmm16. `how` is a mode as in MXCSR or 4 for
  // that one, and 8 more where nothing is inexact.
  void round(Xmm d, Xmm s, bool wide, u8 how) {
    vector({1, static_cast<u8>(0x0a + wide), false, 3}, d, s, s);
    byte(how);
  }
  // FMA3, 213 forms: d = d * b + c.
  void fmadd213(Xmm d, Xmm b, Xmm c, bool wide, u8 op) { vector({1, op, wide, 2}, d, b, c); }
  void fmadd213(Xmm d, Xmm b, Mem c, bool wide, u8 op) { vector({1, op, wide, 2}, d, b, c); }
  void stmxcsr(Mem m) { rm(two(0xae), 3, m, false); }
  void ldmxcsr(Mem m) { rm(two(0xae), 2, m, false); }

  void byte(unsigned b) { *at_++ = static_cast<u8>(b); }
  void u32le(u64 v) {
    const u32 n = static_cast<u32>(v);
    std::memcpy(at_, &n, 4);
    at_ += 4;
  }
  void u64le(u64 v) {
    std::memcpy(at_, &v, 8);
    at_ += 8;
  }

 private:
  static constexpr u16 two(u8 opcode) { return 0x0f00 | opcode; }
  static constexpr u8 extend_opcode(Width w, bool sign) {
    return (sign ? 0xbe : 0xb6) | (w == Width::b2);
  }
  u8* displacement() {
    at_ += 4;
    return at_ - 4;
  }

  // W, and the high bits of ModRM.reg, SIB.index and ModRM.rm; `force` for the low bytes of rsi,
  // rdi...
  void rex(bool wide, unsigned reg, unsigned index, unsigned base, bool force = false) {
    const unsigned bits =
        (wide ? 8 : 0) | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);
    if (bits || force) byte(0x40 | bits);
  }
  // ---- Vector instructions. The mandatory prefix is none, 66, F3 or F2; the map 0F, 0F38
  // or 0F3A.
  struct VectorOp {
    u8 prefix;
    u8 opcode;
    bool wide;  // W
    u8 map = 1;
  };
  static constexpr Xmm none = xmm0;
  static constexpr u8 scalar_prefix(bool wide) { return wide ? 3 : 2; }
  static constexpr VectorOp scalar(u8 op, bool wide) { return {scalar_prefix(wide), op, wide}; }
  static constexpr VectorOp packed(Packed op) { return {1, static_cast<u8>(op), false}; }

  // `a` is the first source, none (all ones in its field) where there is but one; reg and rm are
  // registers of any kind.
  void vector(VectorOp op, unsigned reg, unsigned a, unsigned rm) {
    const bool one_source = has_one_source(op);
    if (!vex_) {
      if (!one_source && op.map == 1) mova(static_cast<Xmm>(reg), static_cast<Xmm>(a));
      legacy_prefix(op);
      return rr(two(op.opcode), reg, rm, legacy_wide(op));
    }
    if ((reg | a | rm) & 16)
      evex(op, reg, one_source ? 0 : a, rm >> 4 & 1, rm >> 3 & 1);
    else
      vex(op, reg, one_source ? 0 : a, 0, rm >> 3 & 1);
    byte(0xc0 | (reg & 7) << 3 | (rm & 7));
  }
  void vector(VectorOp op, unsigned reg, unsigned a, Mem m) {
    const bool one_source = has_one_source(op);
    const unsigned index = m.index == rsp ? 0 : m.index;
    if (!vex_) {
      if (!one_source && op.map == 1) mova(static_cast<Xmm>(reg), static_cast<Xmm>(a));
      legacy_prefix(op);
      return rm(two(op.opcode), reg, m, legacy_wide(op));
    }
    if ((reg | a) & 16) {
      evex(op, reg, one_source ? 0 : a, index >> 3 & 1, m.base >> 3 & 1);
      return modrm(reg, m, true);  // EVEX scales a byte's displacement
    }
    vex(op, reg, one_source ? 0 : a, index >> 3 & 1, m.base >> 3 & 1);
    modrm(reg, m);
  }
  static constexpr bool has_one_source(VectorOp op) {
    if (op.map != 1) return false;
    switch (op.opcode) {
      case 0x10:
      case 0x11:
      case 0x28:
      case 0x2c:
      case 0x2d:
      case 0x2e:
      case 0x2f:
      case 0x6e:
      case 0x7e: return true;
      default: return false;
    }
  }
  void legacy_prefix(VectorOp op) {
    constexpr u8 prefixes[] = {0, 0x66, 0xf3, 0xf2};
    if (op.prefix) byte(prefixes[op.prefix]);
  }
  // W means something only where integers are moved or converted.
  static constexpr bool legacy_wide(VectorOp op) {
    const bool integers =
        op.opcode == 0x6e || op.opcode == 0x7e || (op.opcode >= 0x2a && op.opcode <= 0x2d);
    return integers && op.wide;
  }
  // Intel SDM volume 2, "Intel AVX Instruction Format" and "Intel AVX-512 Encoding": register
  // numbers' high bits are inverted.
  void vex(VectorOp op, unsigned reg, unsigned a, unsigned x, unsigned b) {
    byte(0xc4);
    byte((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | op.map);
    byte(op.wide << 7 | (~a & 15) << 3 | op.prefix);
    byte(op.opcode);
  }
  void evex(VectorOp op, unsigned reg, unsigned a, unsigned x, unsigned b) {
    byte(0x62);
    byte((~reg >> 3 & 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | (~reg >> 4 & 1) << 4 | op.map);
    byte(op.wide << 7 | (~a & 15) << 3 | 4 | op.prefix);
    byte((~a >> 4 & 1) << 3);
    byte(op.opcode);
  }
  void opcode(u16 op) {
    if (op >> 8) byte(op >> 8);
    byte(op & 0xff);
  }
  void rr(u16 op, unsigned reg, unsigned r, bool wide = true, bool force = false) {
    rex(wide, reg, 0, r, force);
    opcode(op);
    byte(0xc0 | (reg & 7) << 3 | (r & 7));
  }
  void rm(u16 op, unsigned reg, Mem m, bool wide = true, bool force = false) {
    rex(wide, reg, m.index == rsp ? 0 : m.index, m.base, force);
    opcode(op);
    modrm(reg, m);
  }
  void modrm(unsigned reg, Mem m, bool no_byte = false) {
    const bool sib = m.index != rsp || (m.base & 7) == rsp;
    const bool small = m.disp >= -128 && m.disp < 128 && !no_byte;
    const unsigned mode = m.disp == 0 && (m.base & 7) != rbp ? 0 : small ? 1 : 2;
    byte(mode << 6 | (reg & 7) << 3 | (sib ? 4 : m.base & 7));
    if (sib) byte(m.scale << 6 | (m.index & 7) << 3 | (m.base & 7));
    if (mode == 1) byte(m.disp);
    if (mode == 2) u32le(m.disp);
  }
  void alu_imm(Alu op, u8 rm_byte, i32 imm) {
    const bool small = imm >= -128 && imm < 128;
    byte(small ? 0x83 : 0x81);
    byte(rm_byte | static_cast<u8>(op) << 3);
    if (small)
      byte(imm);
    else
      u32le(imm);
  }

  u8* at_;
  std::ptrdiff_t run_;
  const u8* end_;
  bool vex_;
};

}  // namespace rvvm::jit
