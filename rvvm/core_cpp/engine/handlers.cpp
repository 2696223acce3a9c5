#include "engine/handlers.hpp"

#include <array>

#include "engine/interpreter_model.hpp"
#include "semantics/bodies.hpp"

// A handler ends by calling the next one, which -O2 makes a jump. Debug and sanitizer builds keep
// frames alive, so there it returns to the run loop, which calls the next.
#ifdef NDEBUG
constexpr bool tail_calls = true;
#else
constexpr bool tail_calls = false;
#endif

namespace rvvm {

namespace {

[[gnu::always_inline]] inline void run_step(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  if constexpr (tail_calls) return step->run(cpu, step, pc, left);
  cpu.next_step = step;
  cpu.hart.pc = pc;
  cpu.left = left;
}

[[gnu::always_inline]] inline void run_block_at(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  const JumpEntry& e = cpu.jump_at(pc);
  const bool usable = e.pc == pc && e.generation == cpu.generation && e.count <= left;
  if (usable && !cpu.attention()) [[likely]]
    return run_step(cpu, e.steps, pc, left - e.count);
  return leave(cpu, step, pc, left);
}

// An instruction that traps does not retire, nor do those behind it. Each trap costs one of the
// budget all the same, so that a handler that traps forever cannot hold the run loop.
[[gnu::noinline]] void leave_trapped(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  left += step->rest + 1;
  cpu.hart.pc = pc;
  cpu.hart.retired = cpu.limit - left;
  cpu.hart.retiring = 0;
  cpu.trapped = true;
  cpu.next_step = nullptr;
  if (cpu.mmu.trap.cause == Trap::later) {
    cpu.left = left;
    return cpu.end_turn();
  }
  cpu.enter_trap(cpu.mmu.trap);
  --cpu.limit;
  cpu.left = left - 1;
}

// The body on the whole model, and on to the next instruction.
template <Op O> [[gnu::noinline]] void whole_handler(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  constexpr Row r = row(O);
  InterpreterModel<Depth::whole> m{cpu, step, pc, left};
  if constexpr (r.is(flag::serial))
    m.begin_serial();
  else if constexpr (r.is(flag::traps))
    m.note_progress();
  if (r.is(flag::fp) && !cpu.fp_on)
    m.illegal();
  else
    Body<O>::run(m, step->insn);
  if (m.trapped()) [[unlikely]]
    return leave_trapped(cpu, step, pc, left);
  if constexpr (r.is(flag::serial)) m.end_serial();
  if constexpr (r.flags & (flag::serial | flag::jumps))
    return run_block_at(cpu, step, m.next(), left);
  // A device that was reached may want attention: at this very instruction, on every engine.
  else if (r.is(flag::traps) && cpu.attention()) [[unlikely]]
    return leave(cpu, step, pc + step->insn.length, left + step->rest);
  else
    return run_step(cpu, step + 1, pc + step->insn.length, left);
}

// The same on the quick model, for rows that mostly need no more.
template <Op O> void quick_handler(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  InterpreterModel<Depth::quick> m{cpu, step, pc, left};
  if (row(O).is(flag::fp) && !cpu.fp_on) [[unlikely]]
    return whole_handler<O>(cpu, step, pc, left);
  Body<O>::run(m, step->insn);
  if (m.missed()) [[unlikely]]
    return whole_handler<O>(cpu, step, pc, left);
  return run_step(cpu, step + 1, pc + step->insn.length, left);
}

constexpr bool has_quick_case(const Row& r) {
  return r.is(flag::native) && (r.flags & (flag::traps | flag::fp));
}
template <Op O> constexpr Handler handler() {
  if constexpr (has_quick_case(row(O))) return quick_handler<O>;
  return whole_handler<O>;
}

constexpr std::array<Handler, op_count> handlers = {
    handler<Op::illegal>(),
#define X(name, bits, format, need, flags) handler<Op::name>(),
#include "isa/instructions.inc"
#undef X
};

// What the faulting address is away from the one the instruction computed: misaligned accesses
// only.
u64 address_offset(const Hart& h, const Insn& insn, u64 tval, bool has_offset) {
  return tval - (h.x[insn.rs1] + (has_offset ? static_cast<u64>(static_cast<i64>(insn.imm)) : 0));
}

}  // namespace

// "Transformed Instruction or Pseudoinstruction for mtinst or htinst": the instruction as if
// uncompressed, its offset cleared and rs1 replaced by the address offset; bit 1 tells that it was
// compressed.
void note_transformed_instruction(Cpu& cpu, const Insn& insn) {
  Trap& trap = cpu.mmu.trap;
  if (trap.tinst || !cpu.hart.has(Ext::H))
    return;  // a pseudoinstruction of an implicit access stays
  constexpr u32 opcode = 0x7f, rd = 0x1f << 7, funct3 = 7 << 12, rs1 = 0x1f << 15, rs2 = 0x1f << 20;
  constexpr u32 load = 0x03, load_fp = 0x07, store = 0x23, store_fp = 0x27;
  const u32 bits = encode(insn);
  const u32 major = bits & opcode;
  const bool is_load = major == load || major == load_fp,
             is_store = major == store || major == store_fp;
  u32 kept = ~rs1;  // AMO, LR, SC, HLV, HSV and cache-block instructions keep the rest
  if (is_load) kept = opcode | rd | funct3;
  if (is_store) kept = opcode | rs2 | funct3;
  const u64 offset = address_offset(cpu.hart, insn, trap.tval, is_load || is_store);
  trap.tinst = (bits & kept) | static_cast<u32>(offset & 31) << 15;
  if (insn.length == 2) trap.tinst &= ~u64{2};
}

Handler handler_of(Op op) { return handlers[static_cast<std::size_t>(op)]; }

void run_next_block(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  run_block_at(cpu, step, pc, left);
}

void leave(Cpu& cpu, const Step*, u64 pc, i64 left) {
  cpu.hart.pc = pc;
  cpu.left = left;
  cpu.next_step = nullptr;
}

}  // namespace rvvm
