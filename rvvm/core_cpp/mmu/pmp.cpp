#include "mmu/pmp.hpp"

#include <bit>

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

u8 permission(Access access) {
  switch (access) {
    case Access::load: return PmpCfg::R;
    case Access::store: return PmpCfg::W;
    case Access::fetch: break;
  }
  return PmpCfg::X;
}

}  // namespace

void Pmp::decode(const HartState& h) {
  regions_.clear();
  for (unsigned entry = 0; entry < pmp_entries; ++entry) {
    const u8 cfg = PmpCfg::of(h, entry);
    const u64 address = h.csr.pmpaddr[entry];  // in units of 4 bytes
    const u64 below = entry ? h.csr.pmpaddr[entry - 1] : 0;
    switch (PmpCfg::mode(cfg)) {
      case PmpCfg::tor:
        if (below < address) regions_.push_back({below << 2, (address << 2) - 1, cfg});
        break;
      case PmpCfg::na4: regions_.push_back({address << 2, (address << 2) + 3, cfg}); break;
      case PmpCfg::napot: {  // trailing ones give the size: 2^(ones + 3) bytes
        const unsigned ones = std::countr_one(address);
        const u64 span = (u64{8} << ones) - 1;
        const u64 first = (address << 2) & ~span;
        regions_.push_back({first, first + span, cfg});
        break;
      }
      default: break;
    }
  }
}

bool Pmp::allows(Hpa address, u64 size, Access access, Privilege privilege) const {
  const u64 first = address.value, last = first + size - 1;
  for (const Region& r : regions_) {
    if (last < r.first || first > r.last) continue;
    if (first < r.first || last > r.last) return false;
    const bool exempt = privilege == Privilege::M && !(r.cfg & PmpCfg::L);
    return exempt || (r.cfg & permission(access));
  }
  return privilege == Privilege::M;
}

bool Pmp::uniform(Hpa page) const {
  const u64 first = page.value & ~page_mask, last = first + page_mask;
  for (const Region& r : regions_) {
    if (last < r.first || first > r.last) continue;
    return first >= r.first && last <= r.last;
  }
  return true;
}

}  // namespace rvvm
