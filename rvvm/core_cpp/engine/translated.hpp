// What translated code keeps in a Cpu between and during its instructions.
#pragma once
#include <array>

#include "isa/types.hpp"

namespace rvvm {

// The host's MXCSR (Intel SDM volume 1, "MXCSR Control and Status Register"): all exceptions
// masked, the rounding mode in bits 14:13, sticky flags in bits 5:0.
namespace mxcsr {
inline constexpr u32 clean = 0x1f80;
inline constexpr u32 sticky = 0x3f;

// For each frm; 0 for RMM, which the host has not, and for reserved ones.
constexpr std::array<u32, 8> of_frm() {
  constexpr u32 nearest = 0, down = 1, up = 2, zero = 3;
  return {clean | nearest << 13, clean | zero << 13, clean | down << 13, clean | up << 13};
}

// The guest's fflags for the host's sticky flags; the host has one more, for subnormal operands.
constexpr std::array<u8, 64> fflags() {
  constexpr u8 NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16;
  constexpr u8 guest[] = {NV, 0, DZ, OF, UF, NX};
  std::array<u8, 64> table{};
  for (unsigned flags = 0; flags < table.size(); ++flags)
    for (unsigned k = 0; k < 6; ++k)
      if (flags >> k & 1) table[flags] |= guest[k];
  return table;
}
}  // namespace mxcsr

struct TranslatedState {
  static constexpr unsigned shared_checks = 32, page_slots_count = 16;

  std::array<u64, shared_checks> deltas;  // from guest to host address, of checks that are shared
  // The page that an access of a loop was on last, the way there, and how far into the page it may
  // begin: less than `limit`, which is 0 while there is no page.
  struct PageSlot {
    u64 page, delta, limit;
  };
  std::array<PageSlot, page_slots_count> page_slots;
  // Floating-point registers are in the host's, and MXCSR has frm and collects flags.
  bool fp_live = false;
  std::array<u64, 32> saved_f;  // the host's, over a call that leaves them alone
  u32 mxcsr = 0;
  u32 clean_mxcsr = mxcsr::clean;
  std::array<u32, 8> mxcsr_of_frm = mxcsr::of_frm();
  std::array<u8, 64> fflags_of_mxcsr = mxcsr::fflags();
  alignas(16) std::array<u64, 2> box{~u64{0} << 32, 0};  // above a single
  alignas(16) std::array<u64, 2> sign{u64{1} << 63, 0};
  alignas(16) std::array<u64, 2> magnitude{~(u64{1} << 63), 0};
  alignas(16) std::array<u64, 2> sign_of_single{u64{1} << 31, 0};
  alignas(16) std::array<u64, 2> magnitude_of_single{~(u64{1} << 31), 0};  // keeps the box
};

}  // namespace rvvm
