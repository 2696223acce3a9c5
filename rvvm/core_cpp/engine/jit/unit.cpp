#include "engine/jit/unit.hpp"

#include <algorithm>
#include <cstring>

#include "engine/handlers.hpp"
#include "engine/jit/emitter.hpp"
#include "engine/lr_window.hpp"

namespace rvvm::jit {

bool is_csr(const Insn& insn) {
  const Format format = row(insn.op).format;
  return format == Format::Csr || format == Format::CsrI;
}

bool is_float_csr(const Insn& insn) {
  const unsigned address = insn.imm & 0xfff;
  return is_csr(insn) && address >= 1 && address <= 3;
}

bool ends_unit(const Insn& insn) {
  if (insn.op == Op::illegal || insn.op == Op::jal || insn.op == Op::jalr) return true;
  return row(insn.op).is(flag::serial) && !is_csr(insn);
}

Unit read_unit(const u8* bytes, u16 offset, unsigned limit, DecodeMemo& decoded,
               PageTranslations& page) {
  Unit unit;
  unit.offset = offset;
  unit.insns.reserve(limit);
  unsigned at = offset;
  while (at < page_size && unit.insns.size() < limit) {
    u32 bits = 0;
    std::memcpy(&bits, bytes + at, std::min<u64>(4, page_size - at));
    if (at + length_of(bits) > page_size) break;  // the rest is on another page
    unit.insns.push_back(decoded.decode(bits));
    at += length_of(bits);
    if (ends_unit(unit.insns.back())) break;
  }
  unit.end = static_cast<u16>(at);
  Step* steps = page.steps.room_for(unit.insns.size());
  u64 from = offset;
  for (std::size_t k = 0; k < unit.insns.size(); from += unit.insns[k++].length) {
    steps[k] = {handler_of(unit.insns[k].op), unit.insns[k], 0};
    if (is_lr(steps[k].insn.op))  // within what stores are noticed to
      note_lr_window(steps[k].insn, bytes + from, unit.end - from,
                     [&](u32 bits) { return decoded.decode(bits); });
  }
  unit.steps = steps;
  return unit;
}

void note_loops(Unit& unit, CodeCache& cache, Hpa page) {
  u64 at = page.value + unit.offset;
  for (unsigned k = 0; k < unit.insns.size(); at += unit.insns[k++].length) {
    const Insn& insn = unit.insns[k];
    const u64 to = at + static_cast<u64>(i64{insn.imm}), behind = at + insn.length;
    const bool back = row(insn.op).format == Format::B && insn.imm <= 0;
    if (!back || to < page.value + unit.offset || behind == page.value + page_size) continue;
    std::vector<u16>& seldom = cache.translations(page).seldom;
    const u16 branch = at & page_mask;
    const bool counts = !cache.entry(Hpa{to});  // no more, once there is code
    if (counts && 2 * cache.heat(Hpa{behind}) > cache.heat(Hpa{to})) seldom.push_back(branch);
    if (std::ranges::find(seldom, branch) != seldom.end()) unit.seldom |= u64{1} << k;
  }
}

unsigned install(const Unit& unit, CodeCache& cache, Hpa at, const Emitter& e) {
  PageTranslations& page = cache.translations(at);
  page.guards.insert(page.guards.end(), unit.guards.begin(), unit.guards.end());
  page.waiting.insert(page.waiting.end(), unit.exits.begin(), unit.exits.end());
  for (const Unit::Entry& entry : unit.entries)
    cache.translated(Hpa{at.value + entry.offset}, entry.code);
  return static_cast<unsigned>(
      std::erase_if(page.waiting, [&](const PageTranslations::Waiting& waiting) {
        const u8* code = page.entry(waiting.offset);
        if (code) e.link(waiting.jump, code);
        return code != nullptr;
      }));
}

}  // namespace rvvm::jit
