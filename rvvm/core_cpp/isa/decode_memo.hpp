// Instructions decoded lately, by their bits: code repeats itself, and is decoded more than once.
#pragma once
#include <array>
#include <memory>

#include "isa/decode.hpp"

namespace rvvm {

class DecodeMemo {
 public:
  explicit DecodeMemo(const ExtSet& have) : have_{have} { known_->fill(rvvm::decode(0, have)); }

  // As decode(); good until the next call.
  const Insn& decode(u32 bits) {
    if (length_of(bits) == 2) bits &= 0xffff;
    Insn& insn = (*known_)[hash(bits)];
    if (insn.bits != bits) insn = rvvm::decode(bits, have_);
    return insn;
  }

 private:
  static constexpr unsigned size_bits = 13;
  // Fibonacci hashing: the high bits of the product depend on all of the word.
  static constexpr u32 hash(u32 bits) { return bits * 0x9e37'79b1u >> (32 - size_bits); }

  ExtSet have_;
  std::unique_ptr<std::array<Insn, 1 << size_bits>> known_ =
      std::make_unique<std::array<Insn, 1 << size_bits>>();
};

}  // namespace rvvm
