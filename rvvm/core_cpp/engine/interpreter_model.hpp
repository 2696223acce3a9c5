// The model on which bodies interpret: values are integers, and what a body asks for happens at
// once. It comes in two depths. The quick one does what needs no call, and otherwise notes that it
// has missed and leaves the state as it was; then the handler runs the body again on the whole one.
// So the usual case is straight code that saves no register. Nothing in the quick model may let the
// address of a local escape: handlers end in tail calls.
#pragma once
#include "engine/cpu.hpp"
#include "hart/csr_rules.hpp"
#include "hart/trap.hpp"
#include "semantics/float_evaluate.hpp"

namespace rvvm {

struct FpResult {
  u64 value;
  u8 flags;
};

// Complete the trap of a memory access with the instruction that made it.
void note_transformed_instruction(Cpu& cpu, const Insn& insn);

template <class Tag> [[gnu::noinline]] FpResult fp_apply(u8 rm, u8 accrued, u64 a, u64 b, u64 c) {
  fp::Env env{rm, 0};
  const u64 value = fp::evaluate<Tag>(env, accrued, a, b, c);
  return {value, env.flags};
}

// The host's own arithmetic where it will do, and the operations that are a few integer ones
// anyway.
template <class Tag>
[[gnu::always_inline]] inline bool fp_quickly(u8 rm, u8 accrued, u64 a, u64 b, u64 c, FpResult& r) {
  fp::Env env{rm, 0};
  if constexpr (!Tag::rounds) {
    r.value = fp::evaluate_soft<Tag>(env, a, b, c);
  } else if constexpr (Tag::arity == 3 || !fp::HasHost<Tag>) {
    return false;  // a call in any case
  } else {
    if (fp::reserved(rm) || !fp::Host<Tag>::suits(env, accrued)) return false;
    const fp::Quick quick = fp::apply<fp::Host<Tag>, Tag>(
        env, fp::take<Tag::from[0]>(a), fp::take<Tag::from[1]>(b), fp::take<Tag::from[2]>(c));
    if (!quick) return false;
    r.value = fp::give<Tag::to>(*quick);
  }
  r.flags = env.flags;
  return true;
}

enum class Depth : u8 { quick, whole };

template <Depth D> class InterpreterModel {
  static constexpr bool quick = D == Depth::quick;

 public:
  using U = u64;

  InterpreterModel(Cpu& cpu, const Step* step, u64 pc, i64 left)
      : cpu_{cpu}, step_{step}, pc_{pc}, next_{pc + step->insn.length}, left_{left} {}

  // ---- State
  U x(unsigned r) const { return cpu_.hart.x[r]; }
  void x(unsigned r, U value) {
    if (r) cpu_.hart.x[r] = value;
  }
  U f(unsigned r) const { return cpu_.hart.f[r]; }
  void f(unsigned r, U value) {
    cpu_.hart.f[r] = value;
    touch_fp();
  }
  U pc() const { return pc_; }
  U next_pc() const { return pc_ + step_->insn.length; }
  Hart& hart() { return cpu_.hart; }
  Mmu& mmu() { return cpu_.mmu; }
  Cpu& cpu() { return cpu_; }

  // ---- Control flow
  void jump(U target) {
    if (target & cpu_.misaligned_pc) [[unlikely]]
      return raise(Exception::instruction_misaligned, target);
    next_ = target;
  }
  void branch(U condition, U target) {
    if (condition) jump(target);
  }
  void jump_and_link(unsigned rd, U target) {
    const U link = next_pc();
    jump(target);
    if (!trapped_) x(rd, link);
  }

  // ---- Memory
  template <class T> void load(unsigned rd, U address) {
    std::make_unsigned_t<T> value;
    if (read(address, value)) x(rd, static_cast<U>(static_cast<i64>(static_cast<T>(value))));
  }
  template <class T> void load_f(unsigned rd, U address) {
    T value;
    constexpr U box = sizeof(T) == 8 ? 0 : ~U{0} << (8 * sizeof(T) % 64);
    if (fp_untouchable()) return miss();
    if (read(address, value)) f(rd, value | box);
  }
  template <class T> void store(U address, U value) {
    if (cpu_.mmu.try_store(address, static_cast<T>(value))) [[likely]]
      return;
    if constexpr (quick) return miss();
    if (!cpu_.mmu.store_slow(address, sizeof(T), static_cast<T>(value))) fault();
  }

  template <class T> void load_as(Mode mode, bool needs_execute, unsigned rd, U address) {
    if (!cpu_.mmu.load_as(mode, needs_execute, address, sizeof(T))) return fault();
    x(rd, static_cast<U>(static_cast<i64>(static_cast<T>(cpu_.mmu.loaded))));
  }
  template <class T> void store_as(Mode mode, U address, U value) {
    if (!cpu_.mmu.store_as(mode, address, sizeof(T), value)) fault();
  }
  void check_block(U address, u64 size) {
    if (!cpu_.mmu.check_block(address, size)) fault();
  }
  void zero_block(U address, u64 size) {
    if (!cpu_.mmu.zero_block(address, size)) fault();
  }
  void fence_translations(const FenceScope& scope) {
    cpu_.mmu.fence(scope);
    cpu_.hart.stale |= stale_mode;  // ways to code through the context may be void
  }

  // ---- Atomics: the host's own, for other harts may run on other threads. All are as if aq and rl
  // were set.
  template <class T, class Combine> void amo(unsigned rd, U address, Combine combine) {
    u8* operand = quick ? cpu_.mmu.template try_operand<sizeof(T)>(address)
                        : cpu_.mmu.atomic_operand(address, sizeof(T), Access::store);
    if (!operand) return quick ? miss() : fault();
    [[maybe_unused]] OperandLock lock{cpu_.mmu};
    T old = shared::load<T>(operand), wanted, seen = old;
    do {
      old = seen;
      wanted = static_cast<T>(combine(extended(old)));
      seen = shared::compare_and_swap(operand, old, wanted);
    } while (seen != old);
    if constexpr (!quick) {
      lock.stored(sizeof(T));
      seen_by_observer(address, old);
      written(address, wanted);
    }
    x(rd, extended(old));
  }
  template <class T> void lr(unsigned rd, U address) {
    const u8* operand = cpu_.mmu.atomic_operand(address, sizeof(T), Access::load);
    if (!operand) return fault();
    const Hpa at = cpu_.mmu.operand_address();
    const Proof proof = proof_for_sc();
    const bool guarded = proof == Proof::guarded;
    const U value = extended(static_cast<T>(
        guarded ? cpu_.mmu.listener.reserve(cpu_.hart, at, sizeof(T)) : shared::load<T>(operand)));
    std::atomic_thread_fence(std::memory_order_seq_cst);
    seen_by_observer(address, static_cast<T>(value));
    cpu_.hart.reservation = {true, sizeof(T), proof, at.value, value};
    x(rd, value);
  }
  template <class T> void sc(unsigned rd, U address, U value) {
    u8* operand = cpu_.mmu.atomic_operand(address, sizeof(T), Access::store);
    if (!operand) return fault();
    Reservation& r = cpu_.hart.reservation;
    const Hpa at = cpu_.mmu.operand_address();
    Mmu::StoreLock lock{cpu_.mmu, at, r.proof == Proof::guarded};
    // The reservation set is the operand of LR.
    bool holds = r.valid && r.address == at.value && r.width == sizeof(T) && proven(r.proof);
    r.valid = false;  // "Regardless of success or failure, executing an SC invalidates ..."
    const T wanted = static_cast<T>(value), expected = static_cast<T>(r.value);
    if (holds && r.proof == Proof::flag)
      shared::store(operand, static_cast<std::make_unsigned_t<T>>(wanted));
    else if (holds)
      holds = shared::compare_and_swap(operand, expected, wanted) == expected;
    if (holds) {
      lock.stored(sizeof(T));
      written(address, wanted);
    }
    x(rd, !holds);
  }
  template <class T> void cas(unsigned rd, U address, U value) {
    u8* operand = cpu_.mmu.atomic_operand(address, sizeof(T), Access::store);
    if (!operand) return fault();
    const T expected = static_cast<T>(x(rd)), wanted = static_cast<T>(value);
    Mmu::StoreLock lock{cpu_.mmu, cpu_.mmu.operand_address()};
    const T old = shared::compare_and_swap(operand, expected, wanted);
    seen_by_observer(address, old);
    if (old == expected) {
      lock.stored(sizeof(T));
      written(address, wanted);
    }
    x(rd, extended(old));
  }
  // Zacas amocas.q: pairs r, r+1; the pair of x0 reads as zero and is not written.
  void cas_pair(unsigned rd, U address, unsigned rs2) {
    u8* operand = cpu_.mmu.atomic_operand(address, 16, Access::store);
    if (!operand) return fault();
    const u128 expected = both(rd), wanted = both(rs2);
    Mmu::StoreLock lock{cpu_.mmu, cpu_.mmu.operand_address()};
    const u128 old = shared::compare_and_swap_pair(operand, expected, wanted);
    cpu_.mmu.atomic_read(address, 16, static_cast<u64>(old));
    if (old == expected) {
      lock.stored(16);
      cpu_.mmu.pair_written(address, wanted);
    }
    if (!rd) return;
    x(rd, static_cast<U>(old));
    x(rd + 1, static_cast<U>(old >> 64));
  }

  // ---- Floating point (the contract is in semantics/floating.hpp)
  template <class Tag> void fp(const Insn& i) {
    u64& fcsr = cpu_.hart.csr.fcsr;
    const u8 rm = Tag::rounds ? fp::resolve(i.rm, fcsr >> fcsr_frm_shift) : u8{fp::RNE};
    const U a = operand<Tag::from[0]>(i.rs1), b = operand<Tag::from[1]>(i.rs2),
            c = operand<Tag::from[2]>(i.rs3);
    FpResult r;
    if constexpr (quick) {
      if (!fp_quickly<Tag>(rm, fcsr & fcsr_flags, a, b, c, r) || (r.flags & ~fcsr) ||
          fp_untouchable())
        return miss();
    } else {
      if (fp::reserved(rm)) return illegal();
      r = fp_apply<Tag>(rm, fcsr & fcsr_flags, a, b, c);
    }
    if constexpr (Tag::to == fp::Operand::x)
      x(i.rd, r.value);
    else
      f(i.rd, r.value);
    if (r.flags & ~fcsr) {
      fcsr |= r.flags;
      touch_fp();
    }
  }

  void fence(bool store_before_load) {
    std::atomic_thread_fence(store_before_load ? std::memory_order_seq_cst
                                               : std::memory_order_acq_rel);
  }
  void wait() {
    cpu_.hart.waiting = true;
    cpu_.raise_attention();
  }
  // A loop that waits for another hart, whose thread may want this processor.
  void relax() {
    if (cpu_.threads && ++cpu_.pauses >= Cpu::most_pauses) cpu_.raise_attention();
  }
  // Wires as they are outside: for who reads them, all others see them between blocks.
  void take_pins() { cpu_.take_pins(); }

  // ---- Traps
  void raise(const Trap& trap) {
    cpu_.mmu.trap = trap;
    trapped_ = true;
  }
  void raise(Exception cause, u64 tval) {
    // Only an address is a guest's address; an instruction's bits are not.
    const bool address =
        cause == Exception::instruction_misaligned || cause == Exception::breakpoint;
    raise(Trap{.cause = code(cause), .tval = tval, .gva = address && cpu_.hart.mode.virt});
  }
  void illegal() { raise(Exception::illegal_instruction, step_->insn.bits); }
  void virtual_instruction() { raise(Exception::virtual_instruction, step_->insn.bits); }
  void fault() {  // of memory, in mmu().trap: tell the handler which instruction it was
    note_transformed_instruction(cpu_, step_->insn);
    trapped_ = true;
  }

  // Not yet: others have to come to where this hart is in time.
  void later() { raise(Trap{.cause = Trap::later}); }
  // The time, should a device ask.
  void note_progress() { cpu_.hart.retired = cpu_.limit - (left_ + step_->rest + 1); }

  // ---- Around a serial row: its body sees the exact state, and the next instruction what it
  // changed
  void begin_serial() {
    Hart& h = cpu_.hart;
    h.pc = pc_;
    note_progress();
    h.retiring = 1;
  }
  void end_serial() {
    cpu_.hart.retiring = 0;
    ++cpu_.hart.retired;
    if (cpu_.hart.stale) cpu_.settle();
  }

  bool trapped() const { return trapped_; }
  bool missed() const { return missed_; }
  U next() const { return next_; }

 private:
  template <fp::Operand Kind> U operand(unsigned r) const {
    if constexpr (Kind == fp::Operand::x)
      return x(r);
    else if constexpr (Kind == fp::Operand::none)
      return 0;
    else
      return f(r);
  }
  void miss() { missed_ = true; }
  // A first write to the floating-point state has more to do than a quick one may.
  bool fp_untouchable() const { return quick && !cpu_.fp_dirty; }
  template <class T> bool read(U address, T& value) {
    if (cpu_.mmu.try_load(address, value)) [[likely]]
      return true;
    if constexpr (quick) {
      miss();
      return false;
    }
    if (cpu_.mmu.load_slow(address, sizeof(T))) {
      value = static_cast<T>(cpu_.mmu.loaded);
      return true;
    }
    fault();
    return false;
  }
  template <class T> static U extended(T value) { return static_cast<U>(static_cast<i64>(value)); }
  template <class T> void written(U address, T value) {
    cpu_.mmu.atomic_written(address, sizeof(T), static_cast<std::make_unsigned_t<T>>(value));
  }
  template <class T> void seen_by_observer(U address, T value) {
    cpu_.mmu.atomic_read(address, sizeof(T), static_cast<std::make_unsigned_t<T>>(value));
  }
  // A TLB entry that allows stores says that the page has no reservation.
  struct NoLock {
    explicit NoLock(Mmu&) {}
  };
  struct WholeLock : Mmu::StoreLock {
    explicit WholeLock(Mmu& mmu) : StoreLock{mmu, mmu.operand_address()} {}
  };
  using OperandLock = std::conditional_t<quick, NoLock, WholeLock>;

  u64 retired_before() const { return cpu_.limit - (left_ + step_->rest + 1); }
  // By what the SC of this LR will know that no other hart has stored.
  Proof proof_for_sc() {
    cpu_.lr_pc = pc_;
    const bool guard = cpu_.guards(pc_);
    cpu_.guard_next = false;
    if (!cpu_.concurrent) return Proof::flag;
    if (guard) return Proof::guarded;
    if (!step_->insn.imm) return step_->insn.rs3 ? Proof::guarded : Proof::none;
    cpu_.sc_pc = pc_ + step_->insn.imm;
    cpu_.sc_retired = retired_before() + step_->insn.rs3;
    return Proof::count;
  }
  bool proven(Proof proof) {
    switch (proof) {
      case Proof::flag: return !cpu_.concurrent;
      case Proof::path: return true;
      case Proof::guarded: return cpu_.mmu.listener.still_reserved(cpu_.hart);
      case Proof::count:
        if (cpu_.sc_pc == pc_ && cpu_.sc_retired == retired_before()) return true;
        break;
      case Proof::none:
      case Proof::unit: break;
    }
    cpu_.guard_later();
    return false;
  }
  u128 both(unsigned r) const { return r ? static_cast<u128>(x(r + 1)) << 64 | x(r) : 0; }
  void touch_fp() {
    if (cpu_.fp_dirty) [[likely]]
      return;
    mark_fp_dirty(cpu_.hart);
    cpu_.fp_dirty = true;
  }

  Cpu& cpu_;
  const Step* step_;
  U pc_, next_;
  i64 left_;
  bool trapped_ = false, missed_ = false;
};

}  // namespace rvvm
