// Where translated code finds things: offsets from the Cpu, which rbp points to.
#pragma once
#include "engine/cpu.hpp"
#include "engine/jit/emitter.hpp"

namespace rvvm::jit {

constexpr Reg cpu_reg = rbp, left_reg = r15;

// Guest registers that live in host registers while translated code runs; the others stay in
// memory. a0 to a5, s0, s1, sp and ra: what compilers use most.
struct Pin {
  u8 guest;
  Reg host;
};
constexpr Pin pins[] = {{10, rbx}, {11, r12}, {12, r13}, {13, r14}, {14, rsi},
                        {15, rdi}, {8, r8},   {9, r9},   {2, r10},  {1, r11}};

constexpr bool pinned(unsigned guest, Reg& host) {
  for (const Pin& p : pins) {
    if (p.guest != guest) continue;
    host = p.host;
    return true;
  }
  return false;
}

struct Layout {
  i32 x, f, pc, fcsr, table_mask, table_entries, entry_budget, fp_dirty, generation, jumps, pc_page,
      left, mxcsr, clean_mxcsr;
  i32 tlb_read, tlb_write, tlb_host;  // from a TlbEntry

  static Layout of(const Cpu& cpu) {
    auto from = [](const void* object, const void* member) {
      return static_cast<i32>(static_cast<const u8*>(member) - static_cast<const u8*>(object));
    };
    auto at = [&](const void* member) { return from(&cpu, member); };
    const TlbEntry entry;
    return {.x = at(cpu.hart.x.data()),
            .f = at(cpu.hart.f.data()),
            .pc = at(&cpu.hart.pc),
            .fcsr = at(&cpu.hart.csr.fcsr),
            .table_mask = at(&cpu.mmu.table.index_mask),
            .table_entries = at(&cpu.mmu.table.entries),
            .entry_budget = at(&cpu.entry_budget),
            .fp_dirty = at(&cpu.fp_dirty),
            .generation = at(&cpu.generation),
            .jumps = at(cpu.jump_cache.data()),
            .pc_page = at(&cpu.pc_page),
            .left = at(&cpu.left),
            .mxcsr = at(&cpu.mxcsr),
            .clean_mxcsr = at(&cpu.clean_mxcsr),
            .tlb_read = from(&entry, &entry.read),
            .tlb_write = from(&entry, &entry.write),
            .tlb_host = from(&entry, &entry.host)};
  }

  Mem cpu_field(i32 offset) const { return {cpu_reg, offset}; }
  Mem x_at(unsigned r) const { return {cpu_reg, x + static_cast<i32>(8 * r)}; }
  Mem f_at(unsigned r) const { return {cpu_reg, f + static_cast<i32>(8 * r)}; }
  Mem f_high(unsigned r) const { return {cpu_reg, f + static_cast<i32>(8 * r) + 4}; }
};

}  // namespace rvvm::jit
