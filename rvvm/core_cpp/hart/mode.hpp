// Privilege modes: a nominal privilege and the virtualization mode V (Privileged spec, "Hypervisor
// Extension").
#pragma once
#include "isa/types.hpp"

namespace rvvm {

enum class Privilege : u8 { U = 0, S = 1, M = 3 };

struct Mode {
  Privilege privilege = Privilege::M;
  bool virt = false;
  friend constexpr bool operator==(Mode, Mode) = default;
};

// "CSR Address Mapping Conventions": the highest csr_privilege() that a mode has access to. VS-mode
// has none to the hypervisor's.
constexpr u8 reach_of(Mode mode) {
  if (mode.privilege == Privilege::M) return 3;
  if (mode.privilege == Privilege::U) return 0;
  return mode.virt ? 1 : 2;
}

}  // namespace rvvm
