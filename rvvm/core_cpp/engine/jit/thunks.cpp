#include "engine/jit/thunks.hpp"

namespace rvvm::jit {

namespace {

constexpr Reg callee_saved[] = {rbx, rbp, r12, r13, r14, r15};
// Pinned registers that functions of the core may change, by the System V ABI.
constexpr Reg caller_saved[] = {rsi, rdi, r8, r9, r10, r11};

class ThunkEmitter {
 public:
  ThunkEmitter(Emitter& e, const Layout& layout, const Callees& callees)
      : e{e}, layout{layout}, callees{callees} {}

  Thunks emit() {
    Thunks t;
    t.enter = reinterpret_cast<void (*)(Cpu&, const u8*, i64)>(const_cast<u8*>(e.here()));
    enter();
    t.leave_at_offset = e.here();
    e.alu(Alu::add, rax, layout.cpu_field(layout.pc_page));
    t.leave_at_pc = e.here();
    leave();
    t.resolve_pc = e.here();
    resolve(t.leave_at_pc);
    t.interpret = e.here();
    interpret();
    t.host_delta = e.here();
    ask(callees.host_delta);
    t.zero_block = e.here();
    ask(callees.zero_block);
    t.quick_csr = e.here();
    quick_csr();
    t.load_fp = e.here();
    load_fp();
    return t;
  }

 private:
  void spill() {
    for (const auto& p : pins) e.mov(layout.x_at(p.guest), p.host);
  }
  void reload() {
    for (const auto& p : pins) e.mov(p.host, layout.x_at(p.guest));
  }
  void store_fp() {
    for (const auto& p : layout.fp_pins) e.movs(layout.f_at(p.guest), p.host, true);
  }
  void reload_fp() {
    for (const auto& p : layout.fp_pins) e.movs(p.host, layout.f_at(p.guest), true);
  }
  // The home of a guest register may hold another value than its host register (registers.hpp).
  template <class Move> void saved_fp(Move move) {
    i32 at = layout.saved_f;
    for (const auto& p : layout.fp_pins) {
      move(p.host, layout.cpu_field(at));
      at += 8;
    }
  }
  u8* skip_unless_live() {
    e.cmp8(layout.cpu_field(layout.fp_live), 0);
    return e.jcc(Cond::e);
  }

  // Floating-point registers to memory, and the flags the host has raised to fcsr; MXCSR is clean.
  // Changes rcx.
  void retire_fp() {
    u8* dead = skip_unless_live();
    store_fp();
    e.store8(layout.cpu_field(layout.fp_live), 0);
    e.stmxcsr(layout.cpu_field(layout.mxcsr));
    e.load(rcx, layout.cpu_field(layout.mxcsr), Width::b4, false);
    e.alu32(Alu::and_, rcx, mxcsr::sticky);
    Mem fflags = layout.cpu_field(layout.fflags_of_mxcsr);
    fflags.index = rcx;
    e.load(rcx, fflags, Width::b1, false);
    e.or8(layout.cpu_field(layout.fcsr), rcx);
    e.ldmxcsr(layout.cpu_field(layout.clean_mxcsr));
    e.link_here(dead);
  }

  // On entry to a function rsp is 8 off a multiple of 16; six pushes keep that, so 8 more align it.
  void enter() {
    for (Reg r : callee_saved) e.push(r);
    e.alu(Alu::sub, rsp, 8);
    e.lea(cpu_reg, {rdi, cpu_bias});
    e.mov(left_reg, rdx);
    e.mov(rax, rsi);
    reload();
    e.jmp(rax);
  }
  void return_to_caller() {
    e.alu(Alu::add, rsp, 8);
    for (int k = std::size(callee_saved) - 1; k >= 0; --k) e.pop(callee_saved[k]);
    e.ret();
  }
  void leave() {
    e.mov(layout.cpu_field(layout.pc), rax);
    e.mov(layout.cpu_field(layout.left), left_reg);
    spill();
    retire_fp();
    return_to_caller();
  }

  void first_argument() { e.lea(rdi, {cpu_reg, -cpu_bias}); }
  template <class Function> void call(Function function) {
    e.mov_imm(rax, reinterpret_cast<u64>(function));
    e.call(rax);
  }

  // The Cpu, the step in rax, rdx as it is, and the budget behind rcx more instructions.
  void step_arguments() {
    e.mov(rsi, rax);
    e.mov(rdi, left_reg);
    e.alu(Alu::sub, rdi, rcx);
    e.mov(rcx, rdi);
    first_argument();
  }

  void interpret() {
    e.push(rcx);  // called, so this aligns the stack
    spill();
    retire_fp();
    e.pop(rcx);
    e.alu(Alu::sub, rsp, 8);
    step_arguments();
    call(callees.interpret);
    e.alu(Alu::add, rsp, 8);
    e.test32(rax, rax);
    u8* elsewhere = e.jcc(Cond::e);
    reload();
    e.ret();
    e.link_here(elsewhere);
    e.alu(Alu::add, rsp, 8);  // the return address into the code
    e.test(rdx, rdx);
    u8* stop = e.jcc(Cond::e);
    e.mov(left_reg, layout.cpu_field(layout.left));
    reload();
    e.jmp(rdx);
    e.link_here(stop);
    return_to_caller();
  }

  // Calls that leave the guest's registers where they are.
  void save() {
    for (Reg r : caller_saved) e.push(r);
    u8* dead = skip_unless_live();
    saved_fp([this](Xmm host, Mem at) { e.movs(at, host, true); });
    e.link_here(dead);
  }
  void restore() {
    u8* dead = skip_unless_live();
    saved_fp([this](Xmm host, Mem at) { e.movs(host, at, true); });
    e.link_here(dead);
    for (int k = std::size(caller_saved) - 1; k >= 0; --k) e.pop(caller_saved[k]);
  }

  void resolve(const u8* leave_at_pc) {
    save();
    e.push(rax);
    e.alu(Alu::sub, rsp, 8);
    e.mov(rsi, rax);
    e.mov(rdx, left_reg);
    first_argument();
    call(callees.resolve);
    e.mov(rdx, rax);
    e.alu(Alu::add, rsp, 8);
    e.pop(rax);
    restore();
    e.test(rdx, rdx);
    e.link(e.jcc(Cond::e), leave_at_pc);
    e.alu(Alu::and_, rax, -static_cast<i32>(page_size));
    e.mov(layout.cpu_field(layout.pc_page), rax);
    e.jmp(rdx);
  }

  // A function of rcx and edx whose result is wanted in rdx.
  template <class Function> void ask(Function function) {
    save();
    e.push(rax);
    e.mov(rsi, rcx);
    first_argument();
    call(function);
    e.mov(rdx, rax);
    e.pop(rax);
    restore();
    e.ret();
  }

  void quick_csr() {
    e.push(rcx);
    retire_fp();
    e.pop(rcx);
    for (Reg r : caller_saved) e.push(r);
    e.alu(Alu::sub, rsp, 8);
    step_arguments();
    call(callees.quick_csr);
    e.alu(Alu::add, rsp, 8);
    for (int k = std::size(caller_saved) - 1; k >= 0; --k) e.pop(caller_saved[k]);
    e.ret();
  }

  // MXCSR for frm; there is none for some, and a first write to clean state is still to be marked.
  void load_fp() {
    e.cmp8(layout.cpu_field(layout.fp_dirty), 0);
    u8* clean = e.jcc(Cond::e);
    e.push(rax);
    e.load(rax, layout.cpu_field(layout.fcsr), Width::b1, false);
    e.shift(Shift::shr, rax, 5);
    Mem of_frm = layout.cpu_field(layout.mxcsr_of_frm);
    of_frm.index = rax;
    of_frm.scale = 2;
    e.load(rax, of_frm, Width::b4, false);
    e.store(layout.cpu_field(layout.mxcsr), rax, Width::b4);
    e.test32(rax, rax);
    e.pop(rax);
    u8* none = e.jcc(Cond::e);
    e.ldmxcsr(layout.cpu_field(layout.mxcsr));
    reload_fp();
    e.store8(layout.cpu_field(layout.fp_live), 1);
    e.alu(Alu::cmp, rsp, 0);  // not zero
    e.link_here(none);
    e.link_here(clean);
    e.ret();
  }

  Emitter& e;
  const Layout& layout;
  const Callees& callees;
};

}  // namespace

Thunks emit_thunks(Emitter& e, const Layout& layout, const Callees& callees) {
  return ThunkEmitter{e, layout, callees}.emit();
}

}  // namespace rvvm::jit
