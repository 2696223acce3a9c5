#include "engine/jit/thunks.hpp"

namespace rvvm::jit {

namespace {

constexpr Reg callee_saved[] = {rbx, rbp, r12, r13, r14, r15};

void spill(Emitter& e, const Layout& layout) {
  for (const Pin& p : pins) e.mov(layout.x_at(p.guest), p.host);
}
void reload(Emitter& e, const Layout& layout) {
  for (const Pin& p : pins) e.mov(p.host, layout.x_at(p.guest));
}

// On entry to a function rsp is 8 off a multiple of 16; six pushes keep that, so 8 more align it.
void emit_enter(Emitter& e, const Layout& layout) {
  for (Reg r : callee_saved) e.push(r);
  e.alu(Alu::sub, rsp, 8);
  e.mov(cpu_reg, rdi);
  e.mov(left_reg, rdx);
  e.mov(rax, rsi);
  e.ldmxcsr(layout.cpu_field(layout.clean_mxcsr));
  reload(e, layout);
  e.jmp(rax);
}

void emit_return(Emitter& e) {
  e.alu(Alu::add, rsp, 8);
  for (int k = std::size(callee_saved) - 1; k >= 0; --k) e.pop(callee_saved[k]);
  e.ret();
}

void emit_leave(Emitter& e, const Layout& layout) {
  e.mov(layout.cpu_field(layout.pc), rax);
  e.mov(layout.cpu_field(layout.left), left_reg);
  spill(e, layout);
  e.stmxcsr(layout.cpu_field(layout.mxcsr));
  e.ldmxcsr(layout.cpu_field(layout.clean_mxcsr));
  emit_return(e);
}

void emit_interpret(Emitter& e, const Layout& layout, InterpretOne interpret_one) {
  spill(e, layout);
  e.stmxcsr(layout.cpu_field(layout.mxcsr));
  e.ldmxcsr(layout.cpu_field(layout.clean_mxcsr));
  e.mov(rsi, rax);
  e.alu(Alu::add, rdx, layout.cpu_field(layout.pc_page));
  e.mov(rdi, left_reg);
  e.alu(Alu::sub, rdi, rcx);
  e.mov(rcx, rdi);
  e.mov(rdi, cpu_reg);
  e.mov_imm(rax, reinterpret_cast<u64>(interpret_one));
  e.alu(Alu::sub, rsp, 8);
  e.call(rax);
  e.alu(Alu::add, rsp, 8);
  e.ldmxcsr(layout.cpu_field(layout.clean_mxcsr));
  e.test32(rax, rax);
  u8* elsewhere = e.jcc(Cond::e);
  reload(e, layout);
  e.ret();
  e.link_here(elsewhere);
  e.alu(Alu::add, rsp, 8);  // the return address into the code
  e.test(rdx, rdx);
  u8* stop = e.jcc(Cond::e);
  e.mov(left_reg, layout.cpu_field(layout.left));
  reload(e, layout);
  e.jmp(rdx);
  e.link_here(stop);
  emit_return(e);
}

}  // namespace

Thunks emit_thunks(Emitter& e, const Layout& layout, InterpretOne interpret_one) {
  Thunks t;
  t.enter = reinterpret_cast<void (*)(Cpu&, const u8*, i64)>(const_cast<u8*>(e.here()));
  emit_enter(e, layout);
  t.leave_at_offset = e.here();
  e.alu(Alu::add, rax, layout.cpu_field(layout.pc_page));
  t.leave_at_pc = e.here();
  emit_leave(e, layout);
  t.interpret = e.here();
  emit_interpret(e, layout, interpret_one);
  return t;
}

}  // namespace rvvm::jit
