// Which memory accesses of a straight path can share one check of the TLB: those through the same
// base register, near each other. The first looks the page up and keeps the way to host memory.
#pragma once
#include <span>

#include "isa/decode.hpp"

namespace rvvm::jit {

struct Sharing {
  enum class Role : u8 { alone, first, next } role = Role::alone;
  u8 slot = 0;            // where the way is kept
  i32 low = 0, span = 0;  // of the first: the bytes that all of them reach, from its base register
  // Of the first: the place up to which nobody can do without the way, where there is none; whether
  // it is kept for somebody. Of the next: rdx still has it.
  u8 through = 0;
  bool kept = false, at_hand = false;
  i8 page_slot = -1;      // in a loop: see loops.hpp
  i32 slot_span = 0;      // the longest reach of those that have this slot
};

// An access to memory at x[rs1] + imm.
struct BasedAccess {
  bool store;
  u8 size;
};
bool based_access(const Insn& insn, BasedAccess& access);
bool writes_register(const Insn& insn, unsigned x);

// Plans the accesses of a straight path, in order.
class SharingPlan {
 public:
  void start();  // of a path
  // The next instruction, numbered by the caller.
  void add(const Insn& insn, unsigned number, std::span<Sharing> results);
  // After all have been added.
  static void finish(std::span<Sharing> results);

 private:
  static constexpr i32 reach = 256;  // further apart, pages often differ
  struct Group {
    unsigned first = 0;
    i32 low = 0, high = 0;  // from the base register at the first
    i32 moved = 0;          // what has been added to the base register since
    bool open = false;
  };
  void access(const Insn& insn, BasedAccess a, unsigned number, std::span<Sharing> results);
  bool join(Group& group, const Insn& insn, BasedAccess a, unsigned number,
            std::span<Sharing> results);
  void written(const Insn& insn);

  Group groups_[32][2];  // by base register, and loads or stores
  unsigned slots_ = 0;
  int at_hand_ = -1;  // the first of the group whose way is in rdx
};

}  // namespace rvvm::jit
