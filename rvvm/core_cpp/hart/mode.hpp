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

}  // namespace rvvm
