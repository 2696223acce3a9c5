// Two systems beside each other: what one engine does against what another does.
#pragma once
#include <optional>

#include "engine/system.hpp"

namespace rvvm {

struct MemoryRange {
  u64 address, size;
};

// Whether a guest could see no difference in harts and time, nor in these ranges of RAM.
bool equal(System& one, System& other, const std::vector<MemoryRange>& memory);

// Runs both for one budget after the other; the number of the first after which they differ.
std::optional<std::size_t> lockstep(System& one, System& other, const std::vector<u64>& budgets,
                                    const std::vector<MemoryRange>& memory);

}  // namespace rvvm
