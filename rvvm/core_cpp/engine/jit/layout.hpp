// Where translated code finds things: offsets from rbp, which points into the Cpu.
#pragma once
#include <span>

#include "engine/cpu.hpp"
#include "engine/jit/emitter.hpp"
#include "engine/jit/host_features.hpp"
#include "engine/jit/registers.hpp"

namespace rvvm::jit {

constexpr Reg cpu_reg = rbp, left_reg = r15;
// rbp is this far into the Cpu, so that its first fields and all x registers that compilers use
// much are within a byte's displacement.
constexpr i32 cpu_bias = 128;

// a0 to a5, s0, s1, sp and ra: what compilers use most.
constexpr Pin<Reg> pins[] = {{10, rbx}, {11, r12}, {12, r13}, {13, r14}, {14, rsi},
                             {15, rdi}, {8, r8},   {9, r9},   {2, r10},  {1, r11}};
// fa0 to fa5 and ft0 to ft7, which compilers take first; the others, but two, where the host has
// AVX-512's registers. xmm0 and xmm1 are to work in. They are in the host's registers only after
// the first floating-point instruction (TranslatedState::fp_live).
constexpr Pin<Xmm> fp_pins[] = {{10, xmm2},  {11, xmm3},  {12, xmm4},  {13, xmm5},  {14, xmm6},
                                {15, xmm7},  {0, xmm8},   {1, xmm9},   {2, xmm10},  {3, xmm11},
                                {4, xmm12},  {5, xmm13},  {6, xmm14},  {7, xmm15},  {16, xmm16},
                                {17, xmm17}, {28, xmm18}, {29, xmm19}, {30, xmm20}, {31, xmm21},
                                {8, xmm22},  {9, xmm23},  {18, xmm24}, {19, xmm25}, {20, xmm26},
                                {21, xmm27}, {22, xmm28}, {23, xmm29}, {24, xmm30}, {25, xmm31}};
constexpr std::size_t fp_pins_without_avx512 = 14;

struct Layout {
  i32 x, f, pc, csrs, csr_reach, csr_bank, fcsr, entry_budget, fp_dirty, ways, left;
  i32 tlb_loads, tlb_stores, tlb_mask;
  i32 reserved, reserved_width, reserved_proof, reserved_address, reserved_value, guard_next;
  i32 pc_page, deltas, page_slots, fp_live, saved_f, mxcsr, clean_mxcsr, mxcsr_of_frm,
      fflags_of_mxcsr, box, sign, magnitude, sign_of_single, magnitude_of_single;

  std::span<const Pin<Xmm>> fp_pins;
  // From a host address to the physical one, where there is but one RAM.
  bool one_ram;
  u64 ram_to_physical;

  static Layout of(const Cpu& cpu, const HostFeatures& host) {
    auto at = [&](const auto& member) {
      return static_cast<i32>(reinterpret_cast<const u8*>(&member) -
                              reinterpret_cast<const u8*>(&cpu)) -
             cpu_bias;
    };
    const TranslatedState& t = cpu.translated;
    const Ram& ram = *cpu.mmu.bus.rams().front();
    return {.x = at(cpu.hart.x),
            .f = at(cpu.hart.f),
            .pc = at(cpu.hart.pc),
            .csrs = at(cpu.hart.csr),
            .csr_reach = at(cpu.hart.csr_reach),
            .csr_bank = at(cpu.hart.csr_bank),
            .fcsr = at(cpu.hart.csr.fcsr),
            .entry_budget = at(cpu.entry_budget),
            .fp_dirty = at(cpu.fp_dirty),
            .ways = at(cpu.ways),
            .left = at(cpu.left),
            .tlb_loads = at(cpu.table.loads),
            .tlb_stores = at(cpu.table.stores),
            .tlb_mask = at(cpu.table.index_mask),
            .reserved = at(cpu.hart.reservation.valid),
            .reserved_width = at(cpu.hart.reservation.width),
            .reserved_proof = at(cpu.hart.reservation.proof),
            .reserved_address = at(cpu.hart.reservation.address),
            .reserved_value = at(cpu.hart.reservation.value),
            .guard_next = at(cpu.guard_next),
            .pc_page = at(cpu.pc_page),
            .deltas = at(t.deltas),
            .page_slots = at(t.page_slots),
            .fp_live = at(t.fp_live),
            .saved_f = at(t.saved_f),
            .mxcsr = at(t.mxcsr),
            .clean_mxcsr = at(t.clean_mxcsr),
            .mxcsr_of_frm = at(t.mxcsr_of_frm),
            .fflags_of_mxcsr = at(t.fflags_of_mxcsr),
            .box = at(t.box),
            .sign = at(t.sign),
            .magnitude = at(t.magnitude),
            .sign_of_single = at(t.sign_of_single),
            .magnitude_of_single = at(t.magnitude_of_single),
            .fp_pins = std::span{jit::fp_pins}.first(host.avx512 ? std::size(jit::fp_pins)
                                                                 : fp_pins_without_avx512),
            .one_ram = cpu.mmu.bus.rams().size() == 1,
            .ram_to_physical = ram.base() - reinterpret_cast<u64>(ram.host())};
  }

  Mem cpu_field(i32 offset) const { return {cpu_reg, offset}; }
  Mem x_at(unsigned r) const { return {cpu_reg, x + static_cast<i32>(8 * r)}; }
  Mem f_at(unsigned r) const { return {cpu_reg, f + static_cast<i32>(8 * r)}; }
  Mem f_high(unsigned r) const { return {cpu_reg, f + static_cast<i32>(8 * r) + 4}; }
  Mem slot(unsigned n, std::size_t member) const {
    return {cpu_reg, page_slots + static_cast<i32>(sizeof(TranslatedState::PageSlot) * n + member)};
  }
  Mem slot_page(unsigned n) const { return slot(n, offsetof(TranslatedState::PageSlot, page)); }
  Mem slot_delta(unsigned n) const { return slot(n, offsetof(TranslatedState::PageSlot, delta)); }
  Mem slot_limit(unsigned n) const { return slot(n, offsetof(TranslatedState::PageSlot, limit)); }
  Mem delta_at(unsigned slot) const { return {cpu_reg, deltas + static_cast<i32>(8 * slot)}; }
};

}  // namespace rvvm::jit
