#include "engine/jit/jit.hpp"

#include "engine/handlers.hpp"
#include "hart/csr_rules.hpp"

namespace rvvm::jit {

namespace {

constexpr std::size_t unit_bytes = 64 << 10;  // more than any unit can take

// MXCSR's sticky flags are IEEE 754's, in another order, and one for subnormal operands.
void collect_flags(Cpu& cpu) {
  constexpr std::pair<u32, u64> flags[] = {
      {1, fp::NV}, {4, fp::DZ}, {8, fp::OF}, {16, fp::UF}, {32, fp::NX}};
  if (!(cpu.mxcsr & 0x3d)) return;
  u64 raised = 0;
  for (auto [host, guest] : flags)
    if (cpu.mxcsr & host) raised |= guest;
  cpu.hart.csr.fcsr |= raised;
  cpu.mxcsr = cpu.clean_mxcsr;
}

// Where to go on after an instruction that did not simply lead to the next: translated code for the
// pc, or nullptr for the run loop.
const u8* next_code(Cpu& cpu) {
  if (cpu.attention() || cpu.stopped_on_trap) return nullptr;
  const u64 pc = cpu.hart.pc;
  const JumpEntry& e = cpu.jump_at(pc);
  if (e.pc != pc || e.generation != cpu.generation || cpu.left < CodeCache::max_block)
    return nullptr;
  cpu.pc_page = pc & ~page_mask;
  return e.code;
}

// Interprets the instruction at pc; `left` is the budget behind it.
Interpreted interpret_one(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  collect_flags(cpu);
  const u64 generation = cpu.generation;
  cpu.trapped = false;
  cpu.hart.pc = pc;
  cpu.single[0] = *step;
  cpu.single[1] = {leave, {}, 0};
  // No budget, so that the handler comes back; the limit moves with it, to keep the count of
  // retired ones.
  cpu.limit -= left;
  Interpreter::execute(cpu, cpu.single, 0);
  cpu.limit += left;
  cpu.left += left;
  const bool plain = !cpu.trapped && cpu.hart.pc == pc + step->insn.length &&
                     cpu.generation == generation && !cpu.attention();
  return {plain, plain ? nullptr : next_code(cpu)};
}

}  // namespace

Jit::Jit(const Options& options, std::size_t size)
    : options_{options},
      buffer_{std::max(size, 4 * unit_bytes)},
      emitter_{buffer_.write(), buffer_.run(), buffer_.write_end()} {}

void Jit::prepare(const Cpu& cpu) {
  layout_ = Layout::of(cpu);
  thunks_ = emit_thunks(emitter_, layout_, interpret_one);
  first_ = emitter_.at();
  prepared_ = true;
}

void Jit::forget() {
  if (prepared_)
    emitter_ = {first_, buffer_.run() + (first_ - buffer_.write()), buffer_.write_end()};
  if (full_) ++stats_.flushes;
  full_ = false;
}

// The block's code, made when it is hot.
const u8* Jit::code_for(Cpu& cpu, const Block& block) {
  if (block.code || ++block.heat < options_.hot) return block.code;
  const auto at = cpu.mmu.fetch(cpu.hart.pc);
  if (!at) return nullptr;
  if (buffer_.write_end() - emitter_.at() < static_cast<std::ptrdiff_t>(unit_bytes)) {
    full_ = true;
    return nullptr;
  }
  const u8* before = emitter_.at();
  const Hpa page{at->value & ~page_mask};
  Translator translator{emitter_, layout_, host_, thunks_, options_};
  translator.translate(cpu.mmu.bus.host(page, page_size), at->value & page_mask,
                       cpu.hart.extensions, cpu.code.translations(page));
  cpu.code.cover(*at, translator.bytes_covered());
  for (const auto& entry : translator.entries())
    cpu.code.translated(Hpa{page.value + entry.offset}, entry.code);
  ++stats_.units;
  stats_.instructions += translator.instructions();
  stats_.bytes += emitter_.at() - before;
  return block.code;
}

void Jit::run_entry(Cpu& cpu, JumpEntry& entry, i64 left) {
  if (!prepared_) prepare(cpu);
  if (!entry.code) entry.code = code_for(cpu, *entry.block);
  // A unit wants the budget of its longest path before it starts.
  if (!entry.code ||
      left < CodeCache::max_block) {  // one block by the interpreter, and back: no budget behind it
    const i64 behind = left - entry.count;
    cpu.limit -= behind;
    execute(cpu, entry.steps, 0);
    cpu.limit += behind;
    cpu.left += behind;
    return;
  }
  cpu.pc_page = cpu.hart.pc & ~page_mask;
  thunks_.enter(cpu, entry.code, left);
  collect_flags(cpu);
}

}  // namespace rvvm::jit
