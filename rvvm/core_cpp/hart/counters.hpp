// Hardware performance counters as offsets to the count of retired instructions (one cycle an
// instruction).
#pragma once
#include "hart/hart.hpp"

namespace rvvm::counters {

// Events that mhpmevent can select; the encodings are ours (Privileged spec, "Hardware Performance
// Monitor").
enum class Event : u8 { none = 0, cycles = 1, instructions = 2 };

u64 read(const Hart& h, unsigned counter);  // 0 mcycle, 2 minstret, 3..31 mhpmcounter
void write(Hart& h, unsigned counter, u64 value);
// Anything that decides whether counters run (inhibits, events, the mode) changes between freeze
// and thaw. It takes effect after the instruction that changes it, which still counts as before.
void freeze(Hart& h);
void thaw(Hart& h);
// What is derived from the counters' state.
void refresh(Hart& h);
// Sscofpmf: set OF and pend LCOFI for counters that have wrapped, once `retired` is `overflow_at`.
void note_overflows(Hart& h);

}  // namespace rvvm::counters
