#include "hart/hart.hpp"

namespace rvvm {

// Privileged spec, "Reset": M-mode, MIE and MPRV clear; the rest we start from zero.
void Hart::reset(u64 reset_pc, u64 hart_id) {
  skipped = elapsed();  // time goes on
  static_cast<HartState&>(*this) = HartState{};
  set_mode(mode);
  pc = reset_pc;
  csr.mhartid = hart_id;
  if (!has(Ext::U)) csr.mstatus = field::mstatus::MPP.mask();  // the one mode there is
  // Linux, riscv/extensions.yaml: with Svadu alone hardware updates A and D from the start; with
  // both, or neither, the walk faults.
  if (has(Ext::Svadu) && !has(Ext::Svade)) csr.menvcfg = field::menvcfg::ADUE.mask();
  retiring = traps = timers_due = 0;
  next_timer = ~u64{0};
  last_trap = {};
  hpm_active = false;
  overflow_at = ~u64{0};
  stale = stale_all;
}

}  // namespace rvvm
