// The architectural state of a hart: plain data. A snapshot is a copy, lockstep is a comparison.
#pragma once
#include <array>

#include "hart/mode.hpp"
#include "isa/csr_table.hpp"

namespace rvvm {

// One word a CSR row; rules decide what a read shows (views such as sstatus keep nothing here).
struct CsrBank {
#define CSR(address, name, need, rule) u64 name = 0;
#define CSR_RANGE(address, name, first, last, stride, need, rule) \
  std::array<u64, ((last) - (first)) / (stride) + 1> name{};
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  friend bool operator==(const CsrBank&, const CsrBank&) = default;
};

// What shows SC that no other hart has stored since LR (engine/reservations.hpp).
enum class Proof : u8 {
  flag,     // harts take turns: a store of another has made it invalid
  none,     // nothing yet
  unit,     // nothing yet, and LR is part of a translated pair
  count,    // SC is where the code says, and so many instructions later
  path,     // the path from LR to SC has no memory access
  guarded,  // the engine's record of what was stored to the page
};

struct Reservation {  // of LR, by physical address
  bool valid = false;
  u8 width = 0;
  Proof proof = Proof::flag;
  u64 address = 0;
  u64 value = 0;  // that LR has read
  friend bool operator==(const Reservation&, const Reservation&) = default;
};

// What the outside drives: pins of the interrupt controllers, and the memory-mapped timer's compare
// value.
struct Wires {
  u64 interrupts = 0;      // MSI, MTI, MEI, SEI as bits of mip
  u64 guest_external = 0;  // hgeip
  u64 timer = ~u64{0};     // mtimecmp: MTIP while time >= timer
  friend bool operator==(const Wires&, const Wires&) = default;
};

struct HartState {
  std::array<u64, 32> x{};
  std::array<u64, 32> f{};
  u64 pc = 0;
  Mode mode;
  bool waiting = false;  // in WFI
  u64 retired = 0;       // instructions since reset; counters are offsets to it
  CsrBank csr;
  Reservation reservation;
  Wires wires;
  friend bool operator==(const HartState&, const HartState&) = default;
};

}  // namespace rvvm
