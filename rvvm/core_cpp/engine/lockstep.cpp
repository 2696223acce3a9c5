#include "engine/lockstep.hpp"

#include <cstring>

namespace rvvm {

namespace {

bool equal(const TrapRecord& a, const TrapRecord& b) {
  return a.cause == b.cause && a.epc == b.epc && a.tval == b.tval && a.tval2 == b.tval2 &&
         a.tinst == b.tinst && a.gva == b.gva && a.to == b.to;
}

bool equal(const Hart& a, const Hart& b) {
  const HartState &mine = a, &its = b;
  return mine == its && a.traps == b.traps && equal(a.last_trap, b.last_trap);
}

bool equal(const Exit& a, const Exit& b) {
  return a.reason == b.reason && a.hart == b.hart && a.detail == b.detail;
}

}  // namespace

bool equal(System& one, System& other, const std::vector<MemoryRange>& memory) {
  if (one.harts() != other.harts() || one.time() != other.time()) return false;
  for (unsigned k = 0; k < one.harts(); ++k)
    if (!equal(one.hart(k).hart, other.hart(k).hart)) return false;
  for (const auto [address, size] : memory) {
    const u8 *mine = one.bus.host(Hpa{address}, size), *its = other.bus.host(Hpa{address}, size);
    if (!mine || !its || std::memcmp(mine, its, size) != 0) return false;
  }
  return true;
}

std::optional<std::size_t> lockstep(System& one, System& other, const std::vector<u64>& budgets,
                                    const std::vector<MemoryRange>& memory) {
  const auto go_on = [] { return true; };
  for (std::size_t k = 0; k < budgets.size(); ++k) {
    const Exit mine = one.run(budgets[k], go_on), its = other.run(budgets[k], go_on);
    if (!equal(mine, its) || !equal(one, other, memory)) return k;
  }
  return std::nullopt;
}

}  // namespace rvvm
