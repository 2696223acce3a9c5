// The radix page walk (Privileged spec, "Virtual Address Translation Process"): one algorithm for
// the S, VS and G stages. The stage says how tables look; `Memory` says how tables are reached,
// which for VS is the G-stage.
#pragma once
#include "mmu/pte.hpp"
#include "mmu/regime.hpp"
#include "mmu/table_cache.hpp"

namespace rvvm {

// As whom the access is made, for the permission bits of a leaf.
struct Rights {
  Access access = Access::load;
  bool user = false;           // effective privilege is U; for the G-stage always
  bool sum = false;            // S may load and store user pages
  bool mxr = false;            // executable is readable
  bool needs_execute = false;  // HLVX: execute permission stands for read
};

constexpr bool permits(Pte pte, const Rights& r) {
  const bool user_page = pte.has(Pte::U);
  if (r.user != user_page && (r.user || r.access == Access::fetch || !r.sum)) return false;
  switch (r.access) {
    case Access::store: return pte.has(Pte::W);
    case Access::fetch: return pte.has(Pte::X);
    case Access::load: break;
  }
  if (r.needs_execute) return pte.has(Pte::X);
  return pte.has(Pte::R) || (r.mxr && pte.has(Pte::X));
}

enum class WalkOutcome : u8 {
  ok,
  page_fault,  // of this stage
  no_memory,   // a table could not be reached: `Memory` knows why
};

struct WalkResult {
  WalkOutcome outcome = WalkOutcome::ok;
  u64 address = 0;  // translated
  u64 span = 0;     // bytes the leaf maps
  const char* why = "";
  bool writable =
      false;            // a store would have found nothing to update and, for its part, be allowed
  bool global = false;  // the same in all address spaces
};

// Memory: bool read(u64 table_address, unsigned level, u64& pte);
// bool update(u64 table_address, u64 old, u64 pte, bool& matched); TableNotes notes.
template <class Memory>
WalkResult walk(const Stage& stage, u64 address, const Rights& rights, Memory& memory) {
  const auto fault = [](const char* why) { return WalkResult{WalkOutcome::page_fault, 0, 0, why}; };
  if (stage.levels == 0) return {WalkOutcome::ok, address, ~u64{0}, "Bare", true, false};
  if (!stage.canonical(address)) return fault("address is not canonical");

  const TableCache::Found found = memory.notes.find(address);
  u64 table = found.table ? found.table : stage.root;
  int level = found.table ? found.level : stage.levels - 1;
  const int first = level;
  for (; level >= 0; --level) {
    const u64 at = table + 8 * stage.index(address, level);
    Pte pte;
    if (!memory.read(at, level, pte.bits))
      return {WalkOutcome::no_memory, 0, 0, "table is out of reach"};
    if (!pte.has(Pte::V)) return fault("V=0");
    if (!pte.has(Pte::R) && pte.has(Pte::W)) return fault("W without R is reserved");
    if (pte.bits & Pte::reserved) return fault("a reserved bit is set");
    if (pte.pbmt() && (!stage.pbmt || pte.pbmt() == 3))
      return fault("PBMT is reserved or disabled");
    if (pte.napot() && !stage.napot) return fault("N is reserved");
    if (!pte.leaf()) {
      if (pte.bits & (Pte::D | Pte::A | Pte::U) || pte.pbmt() || pte.napot())
        return fault("D, A, U, PBMT or N in a pointer is reserved");
      table = pte.ppn() << 12;
      if (level == 1) memory.notes.note(address, table, 0);
      continue;
    }

    if (level && level != first) memory.notes.note(address, table, level);
    if (!permits(pte, rights)) return fault("permission");
    u64 span = u64{4096} << (9 * level);
    u64 base = pte.ppn() << 12;
    if (pte.napot()) {  // "Svnapot": only 64 KiB, written as ppn[3:0] = 1000
      if (level != 0 || (pte.ppn() & 15) != 8) return fault("reserved NAPOT size");
      span = 65536;
      base &= ~(span - 1);
    }
    if (base & (span - 1)) return fault("misaligned superpage");

    const u64 wanted = Pte::A | (rights.access == Access::store ? Pte::D : 0);
    if (!pte.has(wanted)) {
      if (!stage.hardware_ad) return fault(pte.has(Pte::A) ? "D=0" : "A=0");
      bool matched = true;
      if (!memory.update(at, pte.bits, pte.bits | wanted, matched))
        return {WalkOutcome::no_memory, 0, 0, "entry cannot be updated"};
      if (!matched) {  // "If the comparison fails, return to step 2"
        ++level;
        continue;
      }
    }
    return {WalkOutcome::ok, base | (address & (span - 1)), span, "", pte.has(Pte::W | Pte::D),
            pte.has(Pte::G)};
  }
  return fault("pointer at level 0");
}

}  // namespace rvvm
