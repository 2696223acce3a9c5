// Guest registers that live in host registers while translated code runs; the others stay in
// memory, near rbp. Between units they are the fixed ones. Within a unit a host register may hold
// another guest register, which the unit uses more.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "engine/jit/emitter.hpp"
#include "isa/decode.hpp"

namespace rvvm::jit {

template <class HostReg> struct Pin {
  u8 guest;
  HostReg host;
};

// How often a unit uses each guest register.
struct Uses {
  std::array<u32, 32> x{}, f{};
  void count(const Insn& insn, u32 weight);
};

// Of one kind; `none` is a host register that none of them ever is in.
template <class HostReg, HostReg none> class RegisterMap {
 public:
  struct Swap {
    HostReg host;
    u8 fixed, guest;  // whose it is between units, and within this one
  };

  RegisterMap() { host_.fill(none); }
  // For the next unit.
  void choose(std::span<const Pin<HostReg>> fixed, const std::array<u32, 32>& uses, unsigned first,
              u32 worth);
  bool pinned(unsigned guest) const { return host_[guest] != none; }
  // Leaves `host` alone where it is in memory.
  bool pinned(unsigned guest, HostReg& host) const {
    if (pinned(guest)) host = host_[guest];
    return pinned(guest);
  }
  const std::vector<Swap>& swaps() const { return swaps_; }

 private:
  std::array<HostReg, 32> host_;
  std::vector<Swap> swaps_;
};

struct Layout;

struct Registers {
  RegisterMap<Reg, rsp> x;
  RegisterMap<Xmm, xmm0> f;

  // To swap takes two moves at the entry, and two at the exit.
  static constexpr u32 worth = 8;

  void choose(const Layout& layout, const Uses& uses, u32 swap_worth);
  bool pinned(unsigned guest, Reg& host) const { return x.pinned(guest, host); }
  bool pinned(unsigned guest, Xmm& host) const { return f.pinned(guest, host); }
};

// Code from the fixed registers to a unit's, and back. Changes flags.
class Swapper {
 public:
  Swapper(Emitter& e, const Layout& layout, const Registers& registers)
      : e{e}, layout{layout}, registers{registers} {}

  bool needed() const { return !registers.x.swaps().empty() || !registers.f.swaps().empty(); }
  void in();
  void out();
  // In, where the fixed ones are in memory, too.
  void load();
  void load_float();  // these are live; keeps flags

 private:
  template <class Move> void floats(Move move);

  Emitter& e;
  const Layout& layout;
  const Registers& registers;
};

}  // namespace rvvm::jit
