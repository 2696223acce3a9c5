// The interpreter's function for each row of the instruction table.
#pragma once
#include "engine/code_cache.hpp"

namespace rvvm {

Handler handler_of(Op op);
// Goes on at pc: ends a block that stopped for its length or the page's end.
void run_next_block(Cpu& cpu, const Step* step, u64 pc, i64 left);
// Returns to the run loop.
void leave(Cpu& cpu, const Step* step, u64 pc, i64 left);

}  // namespace rvvm
