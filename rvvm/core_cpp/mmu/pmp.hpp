// Physical memory protection (Privileged spec, "Physical Memory Protection").
#pragma once
#include <vector>

#include "hart/csr_rules.hpp"
#include "memory/address.hpp"
#include "mmu/access.hpp"

namespace rvvm {

// The entries of pmpcfg/pmpaddr that are on, resolved into ranges of which each has one answer;
// remade when one of these CSRs changes.
class Pmp {
 public:
  Pmp() : ranges_{{}} {}
  void decode(const HartState& h);
  // "Priority and Matching Logic": the lowest-numbered entry that matches any byte decides, and it
  // must match all. So no access that reaches beyond a range is allowed.
  bool allows(Hpa address, u64 size, Access access, Privilege privilege) const {
    const Range& r = range_of(address);
    if (address.value + (size - 1) > r.last) return false;
    return r.permissions(privilege) & permission(access);
  }
  // Whether one answer of allows() holds for every access within the page.
  bool uniform(Hpa page) const { return range_of(page).holds_page(page); }
  // What is allowed everywhere in the page, by permission().
  u8 page_permissions(Hpa page, Privilege privilege) const {
    const Range& r = range_of(page);
    return r.holds_page(page) ? r.permissions(privilege) : 0;
  }
  static u8 permission(Access access) {
    constexpr u8 bits[] = {PmpCfg::R, PmpCfg::W, PmpCfg::X};
    return bits[static_cast<u8>(access)];
  }

 private:
  static constexpr u8 all = 7;
  struct Range {
    u64 first = 0, last = ~u64{0};  // inclusive
    int entry = -1;                 // that decides, or none
    u8 machine = all, others = 0;   // R, W and X of M-mode, and of the other modes

    u8 permissions(Privilege privilege) const {
      return privilege == Privilege::M ? machine : others;
    }
    bool holds_page(Hpa page) const {
      return (page.value & ~page_mask) >= first && (page.value | page_mask) <= last;
    }
  };
  const Range& range_of(Hpa address) const {
    const Range& r = ranges_[recent_];
    return address.value >= r.first && address.value <= r.last ? r : search(address);
  }
  const Range& search(Hpa address) const;

  std::vector<Range> ranges_;  // of all addresses, in order
  mutable std::size_t recent_ = 0;
};

}  // namespace rvvm
