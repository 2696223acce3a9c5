#include "engine/interpreter.hpp"

#include "engine/handlers.hpp"
#include "engine/lr_window.hpp"
#include "hart/interrupts.hpp"

namespace rvvm {

namespace {

// The instruction at pc, from one page or across two. False when the fetch traps.
bool fetch_instruction(Cpu& cpu, u32& bits) {
  const u64 pc = cpu.hart.pc;
  auto half = [&](u64 address, u16& value) {
    const auto at = cpu.mmu.fetch(address);
    if (!at) return false;
    value = shared::load<u16>(cpu.mmu.bus.host(*at, 2));
    return true;
  };
  u16 low = 0, high = 0;
  if (!half(pc, low)) return false;
  bits = low;
  if (length_of(low) == 2) return true;
  // "xtval is the address of the portion of the instruction that caused the fault".
  if (!half(pc + 2, high)) return false;
  bits |= static_cast<u32>(high) << 16;
  return true;
}

// As a block has it (CodeCache::build).
void note_window(Cpu& cpu, Insn& lr) {
  const auto at = cpu.mmu.fetch(cpu.hart.pc);
  const u64 room = page_size - (cpu.hart.pc & page_mask);
  if (!at || room < lr.length) return;
  note_lr_window(lr, cpu.mmu.bus.host(*at, room), room,
                 [&](u32 bits) { return decode(bits, cpu.hart.extensions); });
}

}  // namespace

void Interpreter::execute(Cpu& cpu, const Step* step, i64 left) {
  step->run(cpu, step, cpu.hart.pc, left);
  while (cpu.next_step) cpu.next_step->run(cpu, cpu.next_step, cpu.hart.pc, cpu.left);
}

// One instruction outside blocks: it crosses a page, the budget is short, or somebody watches.
void Interpreter::run_single(Cpu& cpu) {
  Hart& h = cpu.hart;
  cpu.limit = h.retired + 1;
  u32 bits;
  if (!fetch_instruction(cpu, bits)) return cpu.enter_trap(cpu.mmu.trap);
  Insn insn = decode(bits, h.extensions);
  if (is_lr(insn.op)) note_window(cpu, insn);
  cpu.single[0] = {handler_of(insn.op), insn, 0};
  cpu.single[1] = {leave, {}, 0};
  execute(cpu, cpu.single, 0);
  h.retired = cpu.limit - cpu.left;
}

// The block at pc, by physical address; remembered for the next jump here. nullptr: run a single
// instruction.
const Block* Interpreter::find_block(Cpu& cpu, bool steps_wanted, bool& trapped) {
  const u64 pc = cpu.hart.pc;
  const auto at = cpu.mmu.fetch(pc);
  trapped = !at;
  if (!at || !cpu.mmu.pmp.uniform(*at)) return nullptr;
  const Block* block = nullptr;
  while (!cpu.code.find(*at, steps_wanted, block)) cpu.mmu.listener.code_translated(*at);
  const u64 generation = cpu.mmu.checked ? 0 : cpu.generation;  // a way to check is none to go
  if (block) cpu.jump_at(pc) = {pc, generation, block->steps, block->count, block->code, block, {}};
  return block;
}

// Runs from pc on; false when the next instruction has to be run singly.
bool Interpreter::run_block(Cpu& cpu, i64& left) {
  Hart& h = cpu.hart;
  JumpEntry& e = cpu.jump_at(h.pc);
  const bool steps_wanted = left < CodeCache::max_block;
  if (e.pc != h.pc || e.generation != cpu.generation || (steps_wanted && !e.steps)) {
    bool trapped;
    if (!find_block(cpu, steps_wanted, trapped)) {
      if (!trapped) return false;
      cpu.enter_trap(cpu.mmu.trap);
      --left;
      return true;
    }
  }
  if (e.count > left) return false;
  cpu.limit = h.retired + left;
  run_entry(cpu, e, left);
  left = cpu.left;
  h.retired = cpu.limit - left;
  return true;
}

Exit Interpreter::run(Cpu& cpu, i64 budget, const std::atomic<bool>& stop, bool rough) {
  cpu.stopped_on_trap = false;
  cpu.pauses = 0;
  const i64 least = rough ? CodeCache::max_block : 1;
  i64 left = budget;
  while (left >= least) {
    if (stop.load(std::memory_order_relaxed)) return {ExitReason::pause};
    if (cpu.attention()) {
      if (cpu.turn_over) return {};
      if (cpu.attend()) --left;
      if (cpu.hart.waiting) return {ExitReason::wfi};
      if ((cpu.plan_anew || cpu.turn_over) && !cpu.stopped_on_trap) return {};
      if (cpu.pauses >= Cpu::most_pauses) return {};
    } else {
      const i64 part = cpu.until_overflow(left);
      i64 part_left = part;
      cpu.part_end = cpu.hart.retired + part;
      if (!run_block(cpu, part_left)) {
        run_single(cpu);
        --part_left;
      }
      left -= part - part_left;
      cpu.look_at_counters();
    }
    if (cpu.stopped_on_trap) return {ExitReason::trap, 0, cpu.hart.last_trap.cause};
  }
  return {};
}

Exit Interpreter::run_one(Cpu& cpu) {
  cpu.stopped_on_trap = false;
  const bool interrupted = cpu.attend();
  if (!interrupted && !cpu.hart.waiting && !cpu.turn_over) run_single(cpu);
  cpu.look_at_counters();
  if (cpu.stopped_on_trap) return {ExitReason::trap, 0, cpu.hart.last_trap.cause};
  return {cpu.hart.waiting ? ExitReason::wfi : ExitReason::budget};
}

Exit Interpreter::step(Cpu& cpu) {
  cpu.hart.waiting = false;
  const Exit exit = run_one(cpu);
  cpu.hart.waiting = false;
  return exit.reason == ExitReason::wfi ? Exit{} : exit;
}

}  // namespace rvvm
