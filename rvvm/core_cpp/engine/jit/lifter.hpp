// The model on which bodies are translated: what a body asks for becomes machine code for the usual
// case. Whatever is not usual (a TLB miss, an FP unit that is off or clean, an odd rounding mode, a
// NaN) jumps to a cold stub that hands the whole instruction to the interpreter's handler.
#pragma once
#include "engine/jit/expression.hpp"
#include "isa/decode.hpp"
#include "semantics/float_evaluate.hpp"

namespace rvvm::jit {

// What the translator is told about control flow at the end of an instruction.
struct Flow {
  enum class Kind : u8 { next, jump, branch, indirect } kind = Kind::next;
  Cond holds{};    // branch
  i64 target = 0;  // jump, branch: offset from the page's start; indirect: the target is in rax
};

class Lifter {
 public:
  using U = Value;

  Lifter(Emitter& e, const Layout& layout, const HostFeatures& host)
      : e{e}, layout{layout}, host{host}, expression{e, layout, host} {}

  // Bits that a jump's target must not have on this hart (Cpu::misaligned_pc).
  void forbid(u8 misaligned_pc) { misaligned_pc_ = misaligned_pc; }
  // For the instruction at this offset in its page.
  void start(const Insn& insn, u16 offset);
  bool supported() const { return supported_; }
  const Flow& flow() const { return flow_; }
  const std::vector<u8*>& misses() const { return misses_; }  // jumps to the cold stub

  // ---- State
  U x(unsigned r) { return r ? Value(arena_, {Kind::x, static_cast<u8>(r)}) : Value(0); }
  void x(unsigned r, U value) {
    if (r) supported_ &= expression.assign(arena_, value.id(arena_), r);
  }
  U f(unsigned r) { return {arena_, {Kind::f, static_cast<u8>(r)}}; }
  void f(unsigned r, U value);
  U pc() { return {arena_, {Kind::pc, 0, -1, -1, -1, offset_}}; }

  // ---- Control flow
  void branch(U condition, U target);
  void jump_and_link(unsigned rd, U target);
  void jump(U) { supported_ = false; }

  // ---- Memory
  template <class T> void load(unsigned rd, U address) {
    load_any(rd, address, width_of<T>(), std::is_signed_v<T>);
  }
  template <class T> void load_f(unsigned rd, U address) { load_float(rd, address, width_of<T>()); }
  template <class T> void store(U address, U value) { store_any(address, value, width_of<T>()); }

  // Harts take turns, so a load and a store are atomic. rax keeps the operand's place, rdx the old
  // value.
  template <class T, class Combine> void amo(unsigned rd, U address, Combine combine) {
    supported_ &= translate_address(address, width_of<T>(), layout.tlb_write);
    e.load(rdx, {rax}, width_of<T>(), true);
    const U result = combine(U(arena_, {Kind::host, rdx}));
    supported_ &= expression.into(arena_, result.id(arena_), rcx, 0);
    e.store({rax}, rcx, width_of<T>());
    put_integer(rd, rdx);
  }

  // ---- Floating point
  template <class Tag> void fp(const Insn& i) { supported_ &= Lower<Tag>::emit(*this, i); }

  // By default the interpreter does it; the specializations are in lower_float.hpp.
  template <class Tag> struct Lower {
    static bool emit(Lifter&, const Insn&) { return false; }
  };

  // ---- For the lowerings
  void miss_if(Cond c) { misses_.push_back(e.jcc(c)); }
  // Rounds to nearest even; an exact operation may name any mode, but not a reserved one.
  void require_nearest(const Insn& i, bool exact = false);
  void require_boxed(unsigned r) {
    e.cmp32(layout.f_high(r), -1);
    miss_if(Cond::ne);
  }
  void put_float(unsigned rd, Xmm value, bool wide);  // boxed
  void put_integer(unsigned rd, Reg value);

  Emitter& e;
  const Layout& layout;
  const HostFeatures& host;
  ExpressionEmitter expression;

 private:
  template <class T> static constexpr Width width_of() {
    return sizeof(T) == 1   ? Width::b1
           : sizeof(T) == 2 ? Width::b2
           : sizeof(T) == 4 ? Width::b4
                            : Width::b8;
  }
  // The page offset of a target that is known, and that needs no trap.
  bool known_target(U target, i64& offset) const;
  bool translate_address(U address, Width width, i32 tag);  // rax = host address
  void load_any(unsigned rd, U address, Width width, bool sign);
  void load_float(unsigned rd, U address, Width width);
  void store_any(U address, U value, Width width);

  Arena arena_;
  u64 offset_ = 0;
  u8 length_ = 4, misaligned_pc_ = 0;
  bool supported_ = true;
  Flow flow_;
  std::vector<u8*> misses_;
};

}  // namespace rvvm::jit
