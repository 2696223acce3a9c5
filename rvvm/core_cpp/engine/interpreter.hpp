// The reference engine: runs predecoded blocks, one function an instruction.
#pragma once
#include "engine/cpu.hpp"

namespace rvvm {

class Interpreter {
 public:
  // Runs until `budget` instructions have retired, the hart waits, a stop cause traps, or `stop` is
  // raised. Each trap counts as one of the budget without retiring anything.
  Exit run(Cpu& cpu, i64 budget, const std::atomic<bool>& stop);
  // One instruction or one trap; an observer finds the instruction in cpu.single.
  Exit run_one(Cpu& cpu);
  // The same, but WFI does not wait.
  Exit step(Cpu& cpu);

 private:
  void execute(Cpu& cpu, const Step* step, i64 left);
  bool run_block(Cpu& cpu, i64& left);
  void run_single(Cpu& cpu);
  const Block* find_block(Cpu& cpu, bool& trapped);
};

}  // namespace rvvm
