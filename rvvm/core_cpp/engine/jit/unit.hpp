// A unit: up to 64 instructions of one page, along the fall-through path, and the code they become.
#pragma once
#include <vector>

#include "engine/code_cache.hpp"

namespace rvvm::jit {

class Emitter;

constexpr unsigned unit_limit = 64;  // instructions

struct Unit {
  struct Entry {
    u16 offset;
    const u8* code;
  };

  // What is to be translated. Offsets are within the page.
  std::vector<Insn> insns;
  u16 offset = 0, end = 0;      // of the first; behind the last: may be page_size
  const Step* steps = nullptr;  // the same instructions, for the interpreter
  ExtSet extensions;
  bool threads = false;  // other harts run at the same time
  u64 seldom = 0;        // a bit for each branch back that has hardly ever been taken

  // What it has become: none where there was no room.
  u8* code = nullptr;
  std::size_t bytes = 0;
  std::vector<Entry> entries;
  std::vector<PageTranslations::Waiting> exits;  // to other places of the page: leave, at first
  std::vector<u8*> guards;
  u64 nanoseconds = 0;
};

// Whether nothing behind an instruction belongs to the same straight path; whether it is a CSR's.
bool ends_unit(const Insn& insn);
bool is_csr(const Insn& insn);
// Of fflags, frm or fcsr: it leads to nothing but the next instruction, and changes nothing that
// other instructions rely on but the rounding mode.
bool is_float_csr(const Insn& insn);

// Notes which of the branches back make loops: what is behind them is come to less often than what
// they lead to.
void note_loops(Unit& unit, CodeCache& cache, Hpa page);

// The instructions from an offset of a page on, and its steps.
Unit read_unit(const u8* bytes, u16 offset, unsigned limit, DecodeMemo& decoded,
               PageTranslations& page);

// Makes the unit known: to the page, to the blocks that begin at its entries, and to the jumps that
// wait for them. The jumps that lead from one unit to another now.
unsigned install(const Unit& unit, CodeCache& cache, Hpa page, const Emitter& e);

}  // namespace rvvm::jit
