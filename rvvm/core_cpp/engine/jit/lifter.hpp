// The model on which bodies are translated: what a body asks for becomes machine code for the usual
// case. Whatever is not usual (no cached translation, an FP unit that is off or clean, an odd
// rounding mode, a NaN) jumps to a cold stub (cold.hpp), which hands the whole instruction to the
// interpreter's handler unless it knows better.
#pragma once
#include <optional>

#include "engine/jit/cold.hpp"
#include "engine/jit/expression.hpp"
#include "engine/jit/sharing.hpp"
#include "hart/plain_csrs.hpp"
#include "isa/decode.hpp"
#include "semantics/float_evaluate.hpp"

namespace rvvm {
enum class CsrChange : u8;
}

namespace rvvm::jit {

// What the translator is told about control flow at the end of an instruction.
struct Flow {
  enum class Kind : u8 { next, jump, branch, indirect } kind = Kind::next;
  Cond holds{};    // branch
  i64 target = 0;  // jump, branch: offset from the page's start; indirect: the target is in rax
};

// What is known of a straight path so far, whichever way each instruction was executed.
struct Facts {
  bool fp_live = false;  // floating-point registers are in the host's
  u32 boxed = 0;         // f registers that hold a single for certain
};

class Lifter {
 public:
  using U = Value;

  Lifter(Emitter& e, const Layout& layout, const Registers& registers, const HostFeatures& host)
      : e{e},
        layout{layout},
        registers{registers},
        host{host},
        expression{e, layout, registers, host} {}

  // For a hart where a jump's target must not have these bits (Cpu::misaligned_pc), among others on
  // threads or not.
  void begin(u8 misaligned_pc, bool threads) {
    misaligned_pc_ = misaligned_pc;
    threads_ = threads;
  }
  void start_path() { facts = {}; }
  // For the instruction at this offset in its page; `paired`: an LR or SC of which every path to
  // the SC is the one from the LR, without a memory access.
  void start(const Insn& insn, u16 offset, const Sharing& sharing, bool paired);
  bool supported() const { return supported_; }
  const Flow& flow() const { return flow_; }
  ColdStub& cold() { return cold_; }

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
  template <class T> void store(U address, U value) {
    if (value.constant() || value.node().kind != Kind::f)
      store_any(address, value, width_of<T>());
    else
      store_float(address, value.node().reg, width_of<T>());
  }

  // rdx keeps the operand's place, rax the old value.
  template <class T, class Combine> void amo(unsigned rd, U address, Combine combine) {
    constexpr Width width = width_of<T>();
    if (threads_ && width < Width::b4) return void(supported_ = false);
    supported_ &= atomic_operand(address, width, true);
    e.load(rax, {rdx}, width, true);
    const u8* again = e.here();
    if (threads_ && width == Width::b4) e.extend(rax, rax, width, true);
    const U result = combine(U(arena_, {Kind::host, rax}));
    supported_ &= expression.into(arena_, result.id(arena_), rcx, 0);
    if (threads_) {
      e.lock_cmpxchg({rdx}, rcx, width == Width::b8);
      e.link(e.jcc(Cond::ne), again);
      if (width == Width::b4) e.extend(rax, rax, width, true);
    } else {
      e.store({rdx}, rcx, width);
    }
    put_integer(rd, rax);
  }

  // "Load-Reserved/Store-Conditional Instructions", as InterpreterModel has them.
  template <class T> void lr(unsigned rd, U address) { load_reserved(rd, address, width_of<T>()); }
  template <class T> void sc(unsigned rd, U address, U value) {
    store_conditional(rd, address, value, width_of<T>());
  }

  // "Memory Ordering Instructions": the host orders all but a load behind an earlier store.
  void fence(bool store_before_load) {
    if (threads_ && store_before_load) e.mfence();
  }

  // PAUSE: only among others on threads is there somebody to wait for.
  void relax() { supported_ &= !threads_; }
  // CBO.ZERO, by a call.
  void zero_block(const Insn& i, const u8* zero_block);

  // An access to a CSR that only stores; the operand is x[rs1], or rs1 itself.
  void csr(const Insn& i, const PlainCsr& csr);
  // To fflags, frm or fcsr.
  void float_csr(const Insn& i);
  // To any CSR, by a call.
  void csr(const Insn& i, const Step* step, unsigned done, const u8* quick_csr);

  // ---- Floating point
  template <class Tag> void fp(const Insn& i) { supported_ &= Lower<Tag>::emit(*this, i); }

  // By default the interpreter does it; the specializations are in lower_float.hpp.
  template <class Tag> struct Lower {
    static bool emit(Lifter&, const Insn&) { return false; }
  };

  // ---- For the lowerings
  void miss_if(Cond c) { cold_.misses.push_back(e.jcc(c)); }
  // The host's rounding mode is the guest's frm while floating-point registers are live: dynamic
  // rounding needs nothing. An exact operation may name any mode, but not a reserved one.
  void require_rounding(const Insn& i, bool exact = false);
  void require_boxed(unsigned r);
  Xmm float_result(unsigned rd, std::initializer_list<unsigned> sources);
  Xmm float_in(unsigned r, Xmm spare);                // wherever it is, or in `spare`
  void float_to(unsigned r, Xmm d);                   // a copy
  void put_float(unsigned rd, Xmm value, bool wide);  // a single comes with its box
  void put_integer(unsigned rd, Reg value);
  Reg integer_in(unsigned r, Reg spare);

  // ---- For cold stubs, too: compares the TLB's entry, which rcx points to then.
  void check_page(Reg base, i32 low, i32 span, bool store);
  void lea(Reg d, Reg base, i32 disp) {
    if (disp)
      e.lea(d, {base, disp});
    else
      e.mov(d, base);
  }

  Emitter& e;
  const Layout& layout;
  const Registers& registers;
  const HostFeatures& host;
  ExpressionEmitter expression;
  Facts facts;

 private:
  template <class T> static constexpr Width width_of() {
    return sizeof(T) == 1   ? Width::b1
           : sizeof(T) == 2 ? Width::b2
           : sizeof(T) == 4 ? Width::b4
                            : Width::b8;
  }
  void require_float();
  void collect_fflags();
  void write_fflags();
  void write_fcsr(CsrChange change, bool frm_alone);
  // The page offset of a target that is known, and that needs no trap.
  bool known_target(U target, i64& offset) const;
  bool based(U address, Reg& base, i32& disp);
  u8* find_page(const PageMiss& miss);
  // Where the operand is in the host; the base register's copy may be in rax.
  bool operand(U address, Width width, bool store, Mem& where);
  bool atomic_operand(U address, Width width, bool store);  // rdx = host address
  void physical_operand();                                  // rcx = its physical address
  void load_reserved(unsigned rd, U address, Width width);
  void set_proof(Proof proof);
  void store_conditional(unsigned rd, U address, U value, Width width);
  u8* store_reserved(U value, Width width);
  void load_any(unsigned rd, U address, Width width, bool sign);
  void load_float(unsigned rd, U address, Width width);
  void store_any(U address, U value, Width width);
  void store_float(U address, unsigned r, Width width);

  Arena arena_;
  u64 offset_ = 0;
  u8 length_ = 4, misaligned_pc_ = 0;
  bool threads_ = false;
  bool supported_ = true;
  bool paired_ = false;
  Sharing sharing_;
  Flow flow_;
  ColdStub cold_;
};

}  // namespace rvvm::jit
