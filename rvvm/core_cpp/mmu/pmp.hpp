// Physical memory protection (Privileged spec, "Physical Memory Protection").
#pragma once
#include <vector>

#include "hart/hart.hpp"
#include "memory/address.hpp"
#include "mmu/access.hpp"

namespace rvvm {

// The entries of pmpcfg/pmpaddr that are on, decoded; remade when one of these CSRs changes.
class Pmp {
 public:
  void decode(const HartState& h);
  // "Priority and Matching Logic": the lowest-numbered entry that matches any byte decides, and it
  // must match all.
  bool allows(Hpa address, u64 size, Access access, Privilege privilege) const;
  // Whether one answer of allows() holds for every access within the page.
  bool uniform(Hpa page) const;

 private:
  struct Region {
    u64 first, last;  // inclusive
    u8 cfg;
  };
  std::vector<Region> regions_;
};

}  // namespace rvvm
