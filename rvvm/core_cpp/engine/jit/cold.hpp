// What one instruction of translated code needs besides its usual case: code that is emitted behind
// the unit, and seldom runs.
#pragma once
#include <array>
#include <optional>

#include "engine/jit/layout.hpp"

namespace rvvm::jit {

// A memory access whose page was not found in the TLB's entry.
struct PageMiss {
  u8* jump;        // here
  const u8* back;  // with the way from guest to host address in rdx
  Reg base;
  i32 low, span;  // the bytes that the check covers: of a shared one, more than the access's
  bool store;
  i8 page_slot = -1;  // of a loop: the page that it keeps
  i32 slot_span = 0;
};

// The first floating-point instruction of a path, with the registers not in the host's.
struct FloatMiss {
  u8* jump;
  const u8* back;
};

// The few jumps of one instruction.
class Jumps {
 public:
  void push_back(u8* jump) { at_[count_++] = jump; }
  bool empty() const { return count_ == 0; }
  u8* const* begin() const { return at_.data(); }
  u8* const* end() const { return at_.data() + count_; }

 private:
  std::array<u8*, 8> at_;
  unsigned count_ = 0;
};

struct ColdStub {
  Jumps misses;  // jumps here: the interpreter does the instruction
  std::optional<PageMiss> page;
  std::optional<FloatMiss> fp;
  unsigned place = 0;
  unsigned done = 0;  // instructions since the budget was last brought up to date

  bool needed() const { return !misses.empty() || page || fp; }
};

}  // namespace rvvm::jit
