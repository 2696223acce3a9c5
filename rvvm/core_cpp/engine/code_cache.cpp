#include "engine/code_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "engine/handlers.hpp"
#include "engine/lr_window.hpp"
#include "memory/shared.hpp"

namespace rvvm {

namespace {

bool ends_block(const Insn& insn) {
  const Row& r = row(insn.op);
  return insn.op == Op::illegal || (r.flags & (flag::jumps | flag::serial));
}

u32 fetch_bits(const u8* at, u64 room) {
  const u32 low = shared::load<u16>(at);
  return room < 4 ? low : low | static_cast<u32>(shared::load<u16>(at + 2)) << 16;
}

}  // namespace

constexpr std::size_t piece_bytes = 2 << 20;  // a large page of x86-64

void StepPool::Unmap::operator()(Step* piece) const { munmap(piece, piece_bytes); }

// Touched already; none where the host has no room. Twice as much is asked for, of which one part
// is aligned.
StepPool::Piece StepPool::make() {
  void* memory = mmap(nullptr, 2 * piece_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  u8* begin = static_cast<u8*>(memory);
  u8* piece = begin + (-reinterpret_cast<u64>(begin) & (piece_bytes - 1));
  if (piece > begin) munmap(begin, static_cast<std::size_t>(piece - begin));
  munmap(piece + piece_bytes, static_cast<std::size_t>(begin + piece_bytes - piece));
  madvise(piece, piece_bytes, MADV_HUGEPAGE);  // refusal does no harm
  *static_cast<volatile u8*>(piece) = 0;
  return Piece{reinterpret_cast<Step*>(piece)};
}

Step* StepPool::take() {
  if (free_.empty()) {
    Step* spare = spare_.exchange(nullptr);
    pieces_.push_back(spare ? Piece{spare} : make());
    if (!pieces_.back()) throw std::bad_alloc{};
    for (std::size_t k = piece_bytes / sizeof(Step) / chunk; k-- > 0;)
      free_.push_back(pieces_.back().get() + k * chunk);
  }
  Step* steps = free_.back();
  free_.pop_back();
  return steps;
}

StepStore::~StepStore() {
  for (Step* steps : chunks_) pool_.give(steps);
}

Step* StepStore::room_for(std::size_t count) {
  if (left_ < count) {
    chunks_.push_back(pool_.take());
    left_ = StepPool::chunk;
  }
  Step* room = chunks_.back() + (StepPool::chunk - left_);
  left_ -= count;
  size_ += count;
  return room;
}

// jl (0f 8c) becomes nop and jmp (90 e9), which take the same displacement.
void PageTranslations::close() const {
  for (u8* displacement : guards) {
    displacement[-2] = 0x90;
    displacement[-1] = 0xe9;
  }
}

CodeCache::Page* CodeCache::page_at(Hpa at) {
  const u64 number = at.value / page_size;
  Recent& recent = recent_[number % recent_.size()];
  if (recent.number == number) return recent.page;
  const auto found = pages_.find(number);
  if (found == pages_.end()) return nullptr;
  recent = {number, found->second.get()};
  return recent.page;
}

bool CodeCache::find(Hpa at, bool steps_wanted, const Block*& found) {
  std::lock_guard lock(mutex);
  if (!(bus.ram(at)->flags(at) & page_has_code)) return false;
  Page* page = page_at(at);
  if (!page)
    page = (pages_[at.value / page_size] = std::make_unique<Page>(pool_, ++serials_)).get();
  u16& number = page->numbers[(at.value & page_mask) / 2];
  const Block* known = number ? &page->blocks[number - 1] : nullptr;
  const u8* code = known ? known->code.load() : page->translations.entry(at.value & page_mask);
  const bool whole = steps_wanted || !code;
  if (!known || (whole && !known->steps)) {  // one that others look at stays as it is
    Block& made = page->blocks.emplace_back();
    made.code = code;
    made.count = max_block;
    if (whole) build(at, *page, made);
    number = page->blocks.size();
  }
  const Block& block = page->blocks[number - 1];
  found = block.count ? &block : nullptr;
  return true;
}

void CodeCache::translated(Hpa at, const u8* code) {
  Page& page = *page_at(at);
  page.translations.enter(at.value & page_mask, code);
  if (const u16 number = page.numbers[(at.value & page_mask) / 2])
    page.blocks[number - 1].code = code;
}

void CodeCache::build(Hpa at, Page& page, Block& block) {
  std::array<Step, max_block + 1> steps;
  u32 count = 0;
  const u8* host = bus.host(at, 2);
  const u64 start = at.value & page_mask;
  u64 offset = start, seen = start;  // of an LR, up to its SC
  while (offset < page_size && count < max_block) {
    const u32 bits = fetch_bits(host + (offset - start), page_size - offset);
    const unsigned length = length_of(bits);
    if (offset + length > page_size) break;
    const Insn insn = decoded.decode(bits);
    steps[count++] = {handler_of(insn.op), insn};
    if (is_lr(insn.op)) {
      Insn& lr = steps[count - 1].insn;
      note_lr_window(lr, host + (offset - start), page_size - offset,
                     [this](u32 next) { return decoded.decode(next); });
      seen = std::max(seen, offset + static_cast<u64>(lr.imm) + 4);
    }
    offset += length;
    if (ends_block(insn)) break;
  }
  seen = std::min(std::max({seen, offset, start + 2}), page_size);
  for (u32 k = 0; k < count; ++k) steps[k].rest = count - 1 - k;
  steps[count] = {run_next_block, {}};
  for (u64 line = start / 64; line * 64 < seen; ++line) page.code_lines |= u64{1} << line;
  block.steps = std::copy_n(steps.data(), count + 1, page.steps.room_for(count + 1)) - (count + 1);
  block.count = count;
  steps_ += count + 1;
  ++stats.blocks;
  stats.instructions += count;
}

// The pages that have code in these bytes, by number.
template <class Visit> void CodeCache::each_covered(Hpa at, u64 size, Visit visit) const {
  const u64 last = at.value + size - 1;
  for (u64 number = at.value / page_size; number <= last / page_size; ++number) {
    const auto page = pages_.find(number);
    if (page == pages_.end()) continue;
    const u64 first_line = number == at.value / page_size ? (at.value & page_mask) / 64 : 0;
    const u64 last_line = number == last / page_size ? (last & page_mask) / 64 : lines - 1;
    const u64 up_to_last = ~u64{0} >> (lines - 1 - last_line);
    if (page->second->code_lines & up_to_last & (~u64{0} << first_line)) visit(number);
  }
}

bool CodeCache::covers(Hpa at, u64 size) const {
  bool any = false;
  each_covered(at, size, [&](u64) { any = true; });
  return any;
}

bool CodeCache::written(Hpa at, u64 size) {
  const u64 before = stats.dropped;
  each_covered(at, size, [this](u64 number) { drop(number); });
  return stats.dropped != before;
}

void CodeCache::drop(u64 number) {
  const auto page = pages_.find(number);
  recent_[number % recent_.size()] = {};
  page->second->translations.close();
  steps_ -= page->second->steps.size();
  dropped_.push_back(std::move(page->second));
  ++garbage_;
  pages_.erase(page);
  ++stats.dropped;
}

void CodeCache::clear() {
  while (!pages_.empty()) drop(pages_.begin()->first);
}

void CodeCache::collect() {
  dropped_.clear();
  garbage_ = 0;
}

}  // namespace rvvm
