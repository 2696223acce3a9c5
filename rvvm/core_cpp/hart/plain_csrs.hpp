// CSRs that only store, as translated code accesses them: a word at a known place, and two masks.
#pragma once
#include <optional>

#include "hart/hart.hpp"

namespace rvvm {

struct PlainCsr {
  u32 offset = 0;       // of the word in CsrBank; with V=1 it is Hart::csr_bank further if `banked`
  bool banked = false;  // it has a VS twin
  u8 privilege = 0;     // accessible when Hart::csr_reach is at least this
  u64 read = 0;         // the bits that a read shows
  u64 write = 0;        // the bits that a write changes
  bool read_only = false;  // a write is illegal
};

// The CSR at an address when a hart with these extensions has it, and nothing but its address
// decides who may access it.
std::optional<PlainCsr> plain_csr(u16 address, const ExtSet& have);

// An access in the hart's present mode by the words above: false when it is not permitted.
bool read_plain(const Hart& h, const PlainCsr& csr, u64& value);
bool write_plain(Hart& h, const PlainCsr& csr, u64 value);

}  // namespace rvvm
