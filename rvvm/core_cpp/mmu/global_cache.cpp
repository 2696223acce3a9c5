#include "mmu/global_cache.hpp"

namespace rvvm {

void GlobalCache::note(u32 world, u64 address, Access access, const Translation& t) {
  constexpr u64 region = u64{1} << 21;
  const bool large = t.contiguous >= region;
  if (large)
    regions_.note(world, address, access, t);
  else
    pages_.note(world, address, access, t);
  if (t.span <= (large ? region : page_size)) return;
  large_first_ = std::min(large_first_, address & ~(t.span - 1));
  large_last_ = std::max(large_last_, address | (t.span - 1));
}

bool GlobalCache::forget(u32 world, u64 address) {
  if (address >= large_first_ && address <= large_last_) return false;
  pages_.forget(world, address);
  regions_.forget(world, address);
  return true;
}

}  // namespace rvvm
