#include "engine/jit/registers.hpp"

#include <algorithm>

#include "engine/jit/layout.hpp"

namespace rvvm::jit {

void Uses::count(const Insn& insn, u32 weight) {
  for (const char letter : row(row(insn.op).format).text) switch (letter) {
      case 'd': x[insn.rd] += weight; break;
      case 's': x[insn.rs1] += weight; break;
      case 't': x[insn.rs2] += weight; break;
      case 'D': f[insn.rd] += weight; break;
      case 'S': f[insn.rs1] += weight; break;
      case 'T': f[insn.rs2] += weight; break;
      case 'U': f[insn.rs3] += weight; break;
      default: break;
    }
}

template <class HostReg, HostReg none>
void RegisterMap<HostReg, none>::choose(std::span<const Pin<HostReg>> fixed,
                                        const std::array<u32, 32>& uses, unsigned first,
                                        u32 worth) {
  host_.fill(none);
  swaps_.clear();
  for (const auto& pin : fixed) host_[pin.guest] = pin.host;
  std::vector<Pin<HostReg>> by_use{fixed.begin(), fixed.end()};
  std::ranges::stable_sort(by_use, {}, [&](const auto& pin) { return uses[pin.guest]; });
  for (const Pin<HostReg>& pin : by_use) {
    unsigned best = first;
    for (unsigned guest = first; guest < 32; ++guest)
      if (!pinned(guest) && (pinned(best) || uses[guest] > uses[best])) best = guest;
    if (uses[best] < uses[pin.guest] + worth) return;
    host_[pin.guest] = none;
    host_[best] = pin.host;
    swaps_.push_back({pin.host, pin.guest, static_cast<u8>(best)});
  }
}

void Registers::choose(const Layout& layout, const Uses& uses, u32 swap_worth) {
  x.choose(pins, uses.x, 1, swap_worth);
  f.choose(layout.fp_pins, uses.f, 0, swap_worth);
}

template <class Move> void Swapper::floats(Move move) {
  if (registers.f.swaps().empty()) return;
  e.cmp8(layout.cpu_field(layout.fp_live), 0);
  u8* dead = e.jcc(Cond::e);
  for (const auto& swap : registers.f.swaps()) move(swap);
  e.link_here(dead);
}

void Swapper::in() {
  for (const auto& swap : registers.x.swaps()) {
    e.mov(layout.x_at(swap.fixed), swap.host);
    e.mov(swap.host, layout.x_at(swap.guest));
  }
  floats([this](const auto& swap) {
    e.movs(layout.f_at(swap.fixed), swap.host, true);
    e.movs(swap.host, layout.f_at(swap.guest), true);
  });
}

void Swapper::out() {
  for (const auto& swap : registers.x.swaps()) {
    e.mov(layout.x_at(swap.guest), swap.host);
    e.mov(swap.host, layout.x_at(swap.fixed));
  }
  floats([this](const auto& swap) {
    e.movs(layout.f_at(swap.guest), swap.host, true);
    e.movs(swap.host, layout.f_at(swap.fixed), true);
  });
}

void Swapper::load() {
  for (const auto& swap : registers.x.swaps()) e.mov(swap.host, layout.x_at(swap.guest));
}

void Swapper::load_float() {
  for (const auto& swap : registers.f.swaps()) e.movs(swap.host, layout.f_at(swap.guest), true);
}

}  // namespace rvvm::jit
