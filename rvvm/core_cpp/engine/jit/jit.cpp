#include "engine/jit/jit.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <system_error>

#include "engine/handlers.hpp"
#include "semantics/system.hpp"

namespace rvvm::jit {

namespace {

constexpr std::size_t unit_bytes = 64 << 10;  // more than any unit can take

// The lock of all code, where others may want it.
class CodeLock {
 public:
  explicit CodeLock(Cpu& cpu) : lock_{cpu.code.mutex, std::defer_lock} {
    if (cpu.threads) lock_.lock();
  }

 private:
  std::unique_lock<std::mutex> lock_;
};

// Translated code for a pc that the hart goes to next, when there is such code and nothing else to
// do before; remembered for the next time.
const u8* resolve(Cpu& cpu, u64 pc, i64 left) {
  if (cpu.attention() || left < CodeCache::max_block) return nullptr;
  if (const u8* code = cpu.way_to(pc)) return code;
  const auto at = cpu.mmu.fetch(pc);
  if (!at || !cpu.mmu.pmp.uniform(*at)) return nullptr;
  if (cpu.take_ways())  // the first fetch in a context shows whose ways it has
    if (const u8* code = cpu.way_to(pc)) return code;
  const CodeLock lock{cpu};
  const u8* code = cpu.code.entry(*at);
  if (code) cpu.add_way(pc, code);
  cpu.counts.resolved += code != nullptr;
  return code;
}

// Where to go on after an instruction that did not simply lead to the next: translated code for the
// pc, or nullptr for the run loop.
const u8* next_code(Cpu& cpu) {
  const u64 pc = cpu.hart.pc;
  const u8* code = cpu.stopped_on_trap ? nullptr : resolve(cpu, pc, cpu.left);
  if (code) cpu.pc_page = pc & ~page_mask;
  return code;
}

u64 host_delta(Cpu& cpu, u64 address, u32 request) {
  const bool store = request & 1;
  if ((address & page_mask) + (request >> 1) > page_size) return 0;
  const TlbEntry* entry = cpu.table.find(address, store);
  if (!entry) entry = cpu.mmu.make_entry(address, store ? Access::store : Access::load);
  return entry ? entry->host : 0;
}

// Interprets the instruction at pc; `left` is the budget behind it.
Interpreted interpret_one(Cpu& cpu, const Step* step, u64 pc, i64 left) {
  const u64 generation = cpu.generation;
  ++cpu.counts.interpreted;
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

// Up to the first that does not simply lead to the next.
Interpreted interpret(Cpu& cpu, const Step* step, u64 places, i64 left) {
  u64 pc = cpu.pc_page + (places & 0xffff);
  for (u64 more = places >> 16;; --more) {
    const Interpreted one = interpret_one(cpu, step, pc, left);
    if (!one.stay || !more) return one;
    pc += step->insn.length;
    ++step;
    --left;
  }
}

u64 nanoseconds() {
  return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count());
}

void count_exit(Cpu& cpu) {
  EngineCounts& counts = cpu.counts;
  if (cpu.trapped)
    ++counts.left_for_trap;
  else if (cpu.attention())
    ++counts.left_for_attention;
  else if (cpu.left < CodeCache::max_block)
    ++counts.left_for_budget;
  else
    ++counts.left_for_target;
}

u64 zero_block(Cpu& cpu, u64 address) {
  const bool allowed = block_refusal(cpu.hart, field::menvcfg::CBZE) == Refusal::none;
  return allowed && cpu.mmu.try_zero_block(address, cache_block);
}

QuickCsr access_csr(Cpu& cpu, const Step* step, u64 operand, i64 left) {
  return quick_csr(cpu, step->insn, operand, left);
}

}  // namespace

Jit::Jit(const Options& options, std::size_t size)
    : options_{options},
      buffer_{std::max(size, 4 * unit_bytes)},
      emitter_{buffer_.write(), buffer_.run(), buffer_.write_end(), options_.host.avx} {
  if (!options.perf_map) return;
  const std::string path = "/tmp/perf-" + std::to_string(::getpid()) + ".map";
  perf_map_.reset(std::fopen(path.c_str(), "a"));
  if (perf_map_) std::setvbuf(perf_map_.get(), nullptr, _IOLBF, 0);
}

// In a child of fork() the thread is not there: nobody can end it, or its waiting.
Jit::~Jit() {
  if (workshop_ && !workshop_->here()) workshop_.release();
}

void Jit::prepare(const Cpu& cpu) {
  layout_ = Layout::of(cpu, options_.host);
  thunks_ =
      emit_thunks(emitter_, layout_, {interpret, resolve, host_delta, zero_block, access_csr});
  first_ = emitter_.at();
  if (perf_map_)
    note_for_perf(buffer_.write(), static_cast<std::size_t>(first_ - buffer_.write()), 0);
  prepared_ = true;
}

// "start size name", in hexadecimal: what perf reads from /tmp/perf-PID.map.
void Jit::note_for_perf(const u8* from, std::size_t size, u64 pc) {
  const u8* run = buffer_.run() + (from - buffer_.write());
  std::fprintf(perf_map_.get(), "%lx %lx ", reinterpret_cast<unsigned long>(run), size);
  if (pc)
    std::fprintf(perf_map_.get(), "guest_%lx\n", static_cast<unsigned long>(pc));
  else
    std::fprintf(perf_map_.get(), "rvvm_thunks\n");
}

void Jit::forget() {
  if (workshop_) workshop_->clear();
  if (prepared_)
    emitter_ = {first_, buffer_.run() + (first_ - buffer_.write()), buffer_.write_end(),
                options_.host.avx};
  if (full_) ++stats_.flushes;
  full_ = false;
}

std::optional<Job> Jit::job_for(Cpu& cpu, Hpa at) {
  const Hpa page{at.value & ~page_mask};
  if (!cpu.code.holds(at)) return std::nullopt;
  PageTranslations& translations = cpu.code.translations(page);
  const u64 offset = at.value & page_mask;
  const auto covers = [offset](const auto& range) {
    return range.from <= offset && offset < range.to;
  };
  if (std::ranges::any_of(translations.under_way, covers)) return std::nullopt;
  Job job{read_unit(cpu.mmu.bus.host(page, page_size), static_cast<u16>(offset),
                    options_.unit_limit, cpu.code.decoded, translations),
          &cpu.code, page, translations.serial, cpu.hart.pc};
  note_loops(job.unit, cpu.code, page);
  job.unit.extensions = cpu.hart.extensions;
  job.unit.threads = cpu.threads;
  cpu.code.cover(at, job.unit.end - job.unit.offset);
  translations.under_way.push_back({job.unit.offset, job.unit.end});
  return job;
}

void Jit::translate(Unit& unit) {
  if (buffer_.write_end() - emitter_.at() < static_cast<std::ptrdiff_t>(unit_bytes))
    return void(full_ = true);
  const u64 begun = nanoseconds();
  unit.code = emitter_.at();
  translator_.translate(unit);
  unit.bytes = static_cast<std::size_t>(emitter_.at() - unit.code);
  unit.nanoseconds = nanoseconds() - begun;
}

// What has been translated meanwhile, unless its page is gone.
void Jit::install(const Job& job) {
  const Unit& unit = job.unit;
  if (!job.cache->has_page(job.page, job.serial)) return;
  std::erase(job.cache->translations(job.page).under_way,
             PageTranslations::Range{unit.offset, unit.end});
  if (!unit.code) return;
  ++stats_.units;
  stats_.instructions += unit.insns.size();
  stats_.bytes += unit.bytes;
  stats_.jumps += jit::install(unit, *job.cache, job.page, emitter_);
  stats_.nanoseconds += unit.nanoseconds;
  if (perf_map_) note_for_perf(unit.code, unit.bytes, job.pc);
}

void Jit::install_done() {
  workshop_->take_done([this](const Job& job) { install(job); });
}

// False, and never again, where the host has no thread for it.
bool Jit::open_workshop() {
  try {
    if (!workshop_) workshop_ = std::make_unique<Workshop>([this](Unit& unit) { translate(unit); });
  } catch (const std::system_error&) {
    options_.background = false;
  }
  return options_.background;
}

// The block's code: made when it is hot, at once or in the background.
const u8* Jit::code_for(Cpu& cpu, const Block& block) {
  const bool background = options_.background && !cpu.threads;
  if (background && workshop_ && workshop_->any_done()) install_done();
  if (block.code) return block.code;
  const u32 heat = ++block.heat;
  if (background ? heat != std::min(options_.hot, Options::background_hot) : heat < options_.hot)
    return nullptr;
  // A walk may store to a page with code, so this comes before the lock.
  const auto at = cpu.mmu.fetch(cpu.hart.pc);
  const CodeLock lock{cpu};
  if (block.code) return block.code;  // another hart was first
  if (full_) return nullptr;
  if (!prepared_) prepare(cpu);
  std::optional<Job> job = at ? job_for(cpu, *at) : std::nullopt;
  if (!job) {
    block.heat = 0;  // another time
    return nullptr;
  }
  if (background && open_workshop()) {
    if (workshop_->ask(std::move(*job))) return nullptr;
    cpu.code.translations(job->page).under_way.pop_back();
    block.heat = 0;
    return nullptr;
  }
  if (workshop_) {
    workshop_->finish();
    install_done();
  }
  translate(job->unit);
  install(*job);
  return block.code;
}

void Jit::run_entry(Cpu& cpu, JumpEntry& entry, i64 left) {
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
  cpu.add_way(cpu.hart.pc, entry.code);
  cpu.pc_page = cpu.hart.pc & ~page_mask;
  cpu.trapped = false;
  ++cpu.counts.entries;
  thunks_.enter(cpu, entry.code, left);
  count_exit(cpu);
}

}  // namespace rvvm::jit
