// A hart: its architectural state, what it is made of, and what is derived from its state.
#pragma once
#include <bitset>
#include <cstddef>

#include "hart/clock.hpp"
#include "hart/state.hpp"
#include "isa/extensions.hpp"

namespace rvvm {

// What a CSR write or a trap has made stale; the engine brings it up to date before the next
// instruction. Most writes make nothing stale, and then nothing is asked.
enum Stale : u8 {
  stale_interrupts = 1,   // which interrupt is taken next
  stale_timers = 2,       // which timers are due, and the next deadline
  stale_translation = 4,  // the contexts of loads, stores and fetches
  stale_pmp = 8,
  stale_fp = 16,        // whether there is floating-point state, and it is dirty
  stale_mode = 32,      // of the contexts, what traps and status writes change
  stale_counters = 64,  // when the next hpmcounter overflows
  stale_all = 127
};

// From a supervisor CSR's word to its VS twin's.
constexpr std::size_t guest_bank = offsetof(CsrBank, vsstatus) - offsetof(CsrBank, sstatus);

// A trap on its way: what the handler's CSRs will say.
struct Trap {
  // No trap: the instruction is to execute later, when other harts have come to the same time.
  static constexpr u64 later = 0x7fff'ffff'ffff'ffff;
  u64 cause = 0;  // with interrupt_bit for an interrupt
  u64 tval = 0;
  u64 tval2 = 0;     // guest physical address >> 2, for mtval2 and htval
  u64 tinst = 0;     // for mtinst and htinst
  bool gva = false;  // tval is a guest virtual address
};

enum class TrapTarget : u8 { machine, supervisor, guest };

// The last trap taken, for whoever looks at the machine.
struct TrapRecord : Trap {
  u64 epc = 0;
  TrapTarget to = TrapTarget::machine;
};

struct Hart : HartState {
  ExtSet extensions;
  std::bitset<256> csrs;  // that it has, by number (hart/csr_file.hpp)
  u64 status_fields = 0;  // of mstatus, without those of a mode or state that it lacks
  const Clock* clock = nullptr;
  u64 skipped = 0;           // by instructions: how far time went on while it waited
  u64 time_limit = ~u64{0};  // `elapsed` until which it may look at the time: others are behind
  u64 retiring = 0;          // 1 while an instruction executes that will count once it retires
  u8 stale = stale_all;
  u64 timers_due = 0;        // timer bits of mip, as of the last note_timers()
  u64 next_timer = ~u64{0};  // `time` when another enabled one is due, as of then
  u64 traps = 0;             // taken since reset
  TrapRecord last_trap;
  u8 csr_reach = 3;           // the highest csr_privilege() that the mode has access to
  u64 csr_bank = 0;           // guest_bank while V=1
  bool hpm_active = false;    // some hpmcounter counts: mode changes must be seen by it
  u64 overflow_at = ~u64{0};  // `retired` when the next hpmcounter overflows

  void equip(const ExtSet& have);
  bool has(Ext e) const { return extensions.has(e); }
  void set_mode(Mode to) {
    mode = to;
    csr_reach = reach_of(to);
    csr_bank = to.virt ? guest_bank : 0;
  }
  // Where time counts instructions: where it is, in instructions of a nominal 1 GHz hart. A trap
  // takes as long as an instruction, so that time passes for a hart that does nothing but trap.
  u64 elapsed() const { return retired + traps + skipped; }
  void pass_to(u64 moment) { skipped += moment > elapsed() ? moment - elapsed() : 0; }
  u64 time() const { return clock->now(elapsed()); }
  // Whether others have not come yet to where it is.
  bool ahead() const { return elapsed() > time_limit; }
  void reset(u64 reset_pc, u64 hart_id);
};

// Floating-point unit: off, or on; V=1 needs both status registers to agree (Privileged spec,
// "vsstatus").
inline bool fp_enabled(const HartState& h) {
  return field::mstatus::FS.get(h.csr.mstatus) &&
         (!h.mode.virt || field::vsstatus::FS.get(h.csr.vsstatus));
}
inline void mark_fp_dirty(HartState& h) {
  h.csr.mstatus |= field::mstatus::FS.mask();
  if (h.mode.virt) h.csr.vsstatus |= field::vsstatus::FS.mask();
}

}  // namespace rvvm
