// Writes x86-64 machine code: just the encodings that the translator uses.
// Intel SDM volume 2, "Instruction Format": prefixes, REX, opcode, ModRM, SIB, displacement,
// immediate.
#pragma once
#include <cstring>

#include "isa/types.hpp"

namespace rvvm::jit {

enum Reg : u8 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };
enum Xmm : u8 { xmm0, xmm1, xmm2, xmm3 };

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
enum class Sse : u8 { sqrt = 0x51, add = 0x58, mul = 0x59, sub = 0x5c, div = 0x5e };
enum class Width : u8 { b1, b2, b4, b8 };

class Emitter {
 public:
  // `write` is where bytes go, `run` where they will execute: two views of one memory.
  Emitter(u8* write, const u8* run, const u8* end) : at_{write}, run_{run - write}, end_{end} {}

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
  // Sign- or zero-extending loads and moves.
  void load(Reg d, Mem m, Width w, bool sign) {
    if (w == Width::b8) return rm(0x8b, d, m);
    if (w == Width::b4) return sign ? rm(0x63, d, m) : rm(0x8b, d, m, false);
    rm(two(extend_opcode(w, sign)), d, m, sign);
  }
  void extend(Reg d, Reg s, Width w, bool sign) {
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
  void test_al(u8 imm) {
    byte(0xa8);
    byte(imm);
  }
  void test(Reg a, Reg b) { rr(0x85, b, a); }
  void test32(Reg a, Reg b) { rr(0x85, b, a, false); }
  void shift(Shift op, Reg d, u8 amount) {
    if (!amount) return;
    rex(true, 0, 0, d);
    byte(0xc1);
    byte(0xc0 | static_cast<u8>(op) << 3 | (d & 7));
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
  void ret() { byte(0xc3); }
  // Makes the jump at `site` lead to `target` (an address to execute).
  void link(u8* site, const u8* target) const {
    const i64 offset = target - (site + run_ + 4);
    const i32 narrow = static_cast<i32>(offset);
    std::memcpy(site, &narrow, 4);
  }
  void link_here(u8* site) const { link(site, here()); }

  // ---- Floating point: `wide` is double
  void movs(Xmm d, Mem s, bool wide) {
    byte(wide ? 0xf2 : 0xf3);
    rm(two(0x10), d, s, false);
  }
  void movs(Mem d, Xmm s, bool wide) {
    byte(wide ? 0xf2 : 0xf3);
    rm(two(0x11), s, d, false);
  }
  void sse(Sse op, Xmm d, Mem s, bool wide) {
    byte(wide ? 0xf2 : 0xf3);
    rm(two(static_cast<u8>(op)), d, s, false);
  }
  void ucomis(Xmm a, Mem b, bool wide) {
    if (wide) byte(0x66);
    rm(two(0x2e), a, b, false);
  }
  void ucomis(Xmm a, Xmm b, bool wide) {
    if (wide) byte(0x66);
    rr(two(0x2e), a, b, false);
  }
  void comis(Xmm a, Mem b, bool wide) {
    if (wide) byte(0x66);
    rm(two(0x2f), a, b, false);
  }
  void cvt_from_int(Xmm d, Reg s, bool wide, bool long_) {
    byte(wide ? 0xf2 : 0xf3);
    rr(two(0x2a), d, s, long_);
  }
  void cvtt_to_int(Reg d, Mem s, bool wide, bool long_) {
    byte(wide ? 0xf2 : 0xf3);
    rm(two(0x2c), d, s, long_);
  }
  void cvt_float(Xmm d, Mem s, bool from_wide) {
    byte(from_wide ? 0xf2 : 0xf3);
    rm(two(0x5a), d, s, false);
  }
  // FMA3 fmadd213: d = d * b + c. VEX.66.0F38.W a9.
  void fmadd213(Xmm d, Xmm b, Mem c, bool wide, u8 opcode) {
    byte(0xc4);
    byte((d < 8 ? 0x80 : 0) | 0x40 | (c.base < 8 ? 0x20 : 0) | 2);
    byte((wide ? 0x80 : 0) | (~b & 15) << 3 | 1);
    byte(opcode);
    modrm(d, c);
  }
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
  void modrm(unsigned reg, Mem m) {
    const bool sib = m.index != rsp || (m.base & 7) == rsp;
    const bool small = m.disp >= -128 && m.disp < 128;
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
};

}  // namespace rvvm::jit
