// The reference engine: runs predecoded blocks, one function an instruction.
#pragma once
#include "engine/cpu.hpp"

namespace rvvm {

// What a translating engine has made.
struct TranslationStats {
  u64 units = 0, instructions = 0, bytes = 0, flushes = 0, nanoseconds = 0;
  u64 jumps = 0;  // that lead straight to another unit
};

class Interpreter {
 public:
  virtual ~Interpreter() = default;
  // Runs until `budget` instructions have retired, the hart waits, a stop cause traps, or `stop` is
  // raised. Each trap counts as one of the budget without retiring anything. A `rough` run
  // leaves over what is too little for any block: the end of a budget costs most.
  Exit run(Cpu& cpu, i64 budget, const std::atomic<bool>& stop, bool rough = false);
  // One instruction or one trap; an observer finds the instruction in cpu.single.
  Exit run_one(Cpu& cpu);
  // The same, but WFI does not wait.
  Exit step(Cpu& cpu);

  // Runs handlers from this step on, until one leaves.
  static void execute(Cpu& cpu, const Step* step, i64 left);

  // A translating engine: when it wants the caches of code cleared, and that they are.
  virtual bool may_thread() const { return true; }  // harts on several threads
  virtual bool full() const { return false; }
  virtual void forget() {}
  // Code has been changed or closed, while no hart executes.
  virtual void code_dropped() {}
  // Has the host give a part of RAM (Ram::part) its memory, while the hart goes on.
  virtual void clear_ahead(u8* ram_part) { static_cast<void>(ram_part); }
  virtual TranslationStats translation_stats() const { return {}; }

 private:
  // From the block of this entry, which the budget covers, for as long as it likes.
  virtual void run_entry(Cpu& cpu, JumpEntry& entry, i64 left) {
    execute(cpu, entry.steps, left - entry.count);
  }
  bool run_block(Cpu& cpu, i64& left);
  void run_single(Cpu& cpu);
  const Block* find_block(Cpu& cpu, bool steps_wanted, bool& trapped);
};

}  // namespace rvvm
