#include "mmu/pmp.hpp"

#include <algorithm>
#include <bit>

namespace rvvm {

namespace {

struct Region {
  u64 first, last;  // inclusive
  u8 cfg;
  bool meets(u64 address) const { return address >= first && address <= last; }
};

std::vector<Region> regions_of(const HartState& h) {
  std::vector<Region> regions;
  for (unsigned entry = 0; entry < pmp_entries; ++entry) {
    const u8 cfg = PmpCfg::of(h, entry);
    const u64 address = h.csr.pmpaddr[entry];  // in units of 4 bytes
    const u64 below = entry ? h.csr.pmpaddr[entry - 1] : 0;
    switch (PmpCfg::mode(cfg)) {
      case PmpCfg::tor:
        if (below < address) regions.push_back({below << 2, (address << 2) - 1, cfg});
        break;
      case PmpCfg::na4: regions.push_back({address << 2, (address << 2) + 3, cfg}); break;
      case PmpCfg::napot: {  // trailing ones give the size: 2^(ones + 3) bytes
        const unsigned ones = std::countr_one(address);
        const u64 span = (u64{8} << ones) - 1;
        const u64 first = (address << 2) & ~span;
        regions.push_back({first, first + span, cfg});
        break;
      }
      default: break;
    }
  }
  return regions;
}

}  // namespace

void Pmp::decode(const HartState& h) {
  const std::vector<Region> regions = regions_of(h);
  std::vector<u64> starts{0};
  for (const Region& r : regions) {
    starts.push_back(r.first);
    if (r.last != ~u64{0}) starts.push_back(r.last + 1);
  }
  std::sort(starts.begin(), starts.end());
  ranges_.clear();
  for (u64 start : starts) {
    const auto decides = std::find_if(regions.begin(), regions.end(),
                                      [start](const Region& r) { return r.meets(start); });
    Range range{.first = start};
    if (decides != regions.end()) {
      range.entry = decides - regions.begin();
      range.others = decides->cfg & all;
      if (decides->cfg & PmpCfg::L) range.machine = range.others;
    }
    if (!ranges_.empty() && ranges_.back().entry == range.entry) continue;
    if (!ranges_.empty()) ranges_.back().last = start - 1;
    ranges_.push_back(range);
  }
  recent_ = 0;
}

const Pmp::Range& Pmp::search(Hpa address) const {
  const auto behind = std::upper_bound(ranges_.begin(), ranges_.end(), address.value,
                                       [](u64 value, const Range& r) { return value < r.first; });
  recent_ = behind - ranges_.begin() - 1;
  return ranges_[recent_];
}

}  // namespace rvvm
