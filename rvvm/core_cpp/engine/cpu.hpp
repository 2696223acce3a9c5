// A hart with all an engine needs to run it.
#pragma once
#include "engine/bell.hpp"
#include "engine/code_cache.hpp"
#include "engine/engine.hpp"
#include "engine/samples.hpp"
#include "engine/translated.hpp"
#include "engine/ways.hpp"
#include "mmu/mmu.hpp"

namespace rvvm {

// A remembered way from a virtual pc to its block, valid in one generation of one context.
struct JumpEntry {
  u64 pc = 0;
  u64 generation = 0;
  const Step* steps = nullptr;
  i64 count = 0;
  const u8* code = nullptr;  // translated, for the translating engine
  const Block* block = nullptr;
  u64 padding[2]{};  // 64 bytes, so that an index is a shift
};

// Wires as the outside sets them, from any thread; the hart takes them over between instructions.
struct Pins {
  std::atomic<u64> interrupts{0};
  std::atomic<u64> guest_external{0};
  std::atomic<u64> timer{~u64{0}};
};

// What has happened on slow paths since the hart was made.
struct EngineCounts {
  u64 entries = 0;      // of translated code from the run loop
  u64 resolved = 0;     // ways that translated code asked for and got
  u64 interpreted = 0;  // instructions that it left to the interpreter
  u64 left_for_budget = 0, left_for_attention = 0, left_for_trap = 0, left_for_target = 0;
  u64 turns = 0;    // of full length
  Samples samples;  // the pc where each fourth of those ended

  void sample(u64 pc) {
    if (turns++ % 4 == 0) samples.add(pc);
  }
};

struct Cpu {
  static constexpr std::size_t jumps = 16384;
  static constexpr i64 no_entry = ~(u64{1} << 63);

  Cpu(Bus& bus, StoreListener& listener, CodeCache& code, u64 hart_id, ExtSet extensions,
      u64 reset_pc, const Clock& clock)
      : mmu{hart, bus, listener, table}, code{code}, hart_id{hart_id}, reset_pc{reset_pc} {
    hart.equip(extensions);
    hart.clock = &clock;
    reset();
  }
  Cpu(const Cpu&) = delete;

  void reset();
  void replaced();   // the state was, or what RAM holds: what is derived from them is void
  void take_pins();  // pins to wires
  void settle();     // bring what is derived from the state, and stale, up to date
  void settle_fp();
  const u8* way_to(u64 pc) const {  // in the current fetch context; nullptr when it is not known
    const Way& way = ways[pc / 2 % Ways::entries];
    return way.pc == pc ? way.code : nullptr;
  }
  void add_way(u64 pc, const u8* code);
  bool take_ways();  // the context's; whether others than before
  void forget_ways();
  void code_changed();  // cached ways to code are void
  void enter_trap(const Trap& trap);
  // By instructions: whether a timer, as noted, or an alarm is due before the end of what it was
  // given.
  bool nearer_deadline() const;
  // By instructions: others are to have their turn, before the next instruction.
  void end_turn() {
    turn_over = true;
    raise_attention();
  }
  // Between instructions: take over the pins, take a pending interrupt. True when one was taken.
  bool attend();
  // Sscofpmf: a counter that overflows is seen to at the very instruction.
  i64 until_overflow(i64 most) const {
    return static_cast<i64>(std::min<u64>(most, hart.overflow_at - hart.retired));
  }
  void look_at_counters() {
    if (hart.retired >= hart.overflow_at) [[unlikely]]
      note_overflows();
  }
  void note_overflows();

  // Something is to be looked at before the next block. Raised from any thread.
  bool attention() const { return entry_budget.load(std::memory_order_relaxed) == no_entry; }
  void raise_attention() { entry_budget.store(no_entry, std::memory_order_release); }
  // What it was raised for is to be looked at after this: a plain store might come later.
  void lower_attention() { entry_budget.exchange(CodeCache::max_block); }

  JumpEntry& jump_at(u64 pc) { return jump_cache[(pc >> 1 ^ pc >> 13) % jumps]; }

  // What translated code reads all the time, next to the hart's integer registers.
  DataTable table;
  // It goes on at an entry while `left` is at least this: enough for the longest block, or out of
  // reach, which is how it sees attention() by the same comparison.
  std::atomic<i64> entry_budget{no_entry};
  u64 pc_page = 0;      // the page it runs in
  Way* ways = nullptr;  // of the current fetch context

  Hart hart;
  Mmu mmu;
  CodeCache& code;
  Pins pins;
  Bell bell;                // of the thread that runs this hart alone
  bool threads = false;     // others execute at the same time: known before code is translated
  bool concurrent = false;  // and now they do
  // The last LR that a handler has executed; with Proof::count the SC that belongs to it, and
  // `retired` there.
  u64 lr_pc = 0, sc_pc = 0, sc_retired = 0;
  // An SC failed for want of a proof: the next LR, and those at these places, are to be guarded.
  bool guard_next = false;
  std::array<u64, 64> guarded_lrs{};
  bool guards(u64 pc) const { return guard_next || guarded_lrs[pc / 2 % guarded_lrs.size()] == pc; }
  void guard_later();
  // PAUSE in this turn: after so many its thread had better sleep.
  static constexpr u32 most_pauses = 2000;
  u32 pauses = 0;

  u64 generation = 0;  // of the current fetch context
  bool fp_on = false, fp_dirty = false;
  u64 misaligned_pc = 0;  // bits a jump target must not have

  u64 limit = 0;                    // `retired` when the budget is used up
  u64 part_end = 0;                 // the same, of the part up to a counter's overflow
  i64 left = 0;                     // what handlers leave behind
  const Step* next_step = nullptr;  // without tail calls: what to run next
  u64 deadline = ~u64{0};           // by instructions: what it was given ends at
  bool plan_anew = false;           // there is a nearer one
  bool plan_asked = false;          // for what is no deadline
  bool turn_over = false;
  std::atomic<bool> called{false};   // by another thread, while it waited
  const u64* stop_causes = nullptr;  // bit sets by cause: exceptions, interrupts; to stop on traps
  bool stopped_on_trap = false;
  u64 stopped_at = ~u64{0};  // breakpoint the last run ended at

  bool trapped = false;  // the instruction just interpreted has trapped
  TranslatedState translated;

  EngineCounts counts;

  std::array<JumpEntry, jumps> jump_cache{};
  Step single[2];

  u64 hart_id, reset_pc;

 private:
  void take_context();
  Ways& ways_of(Context& context);
  std::vector<Ways> own_ways_{Tlb::contexts};
  std::array<Ways, 4> shared_ways_;  // by the number of the world
};

}  // namespace rvvm
