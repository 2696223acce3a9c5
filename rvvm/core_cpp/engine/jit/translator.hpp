// Translates a unit. Conditional branches leave at the side; their targets within the unit are
// entries of their own.
#pragma once
#include "engine/jit/lifter.hpp"
#include "engine/jit/loops.hpp"
#include "engine/jit/thunks.hpp"
#include "engine/jit/unit.hpp"

namespace rvvm::jit {

struct Options {
  bool chain = true;  // jumps go straight to translated code
  // Translate while harts that take turns go on interpreting: then earlier.
  bool background = false;
  static constexpr unsigned background_hot = 6;
  bool perf_map = false;  // tell perf what the code is
  unsigned unit_limit = jit::unit_limit;
  unsigned hot = 12;                       // the time a block comes up at which it is translated
  unsigned swap_worth = Registers::worth;  // uses that swapping a register must save
  HostFeatures host = HostFeatures::detect();
};

class Translator {
 public:
  Translator(Emitter& e, const Layout& layout, const Thunks& thunks, const Options& options)
      : e{e},
        layout{layout},
        thunks{thunks},
        options{options},
        lifter{e, layout, registers, options.host},
        swap{e, layout, registers} {}

  void translate(Unit& unit);

 private:
  struct Place {  // an instruction of the unit
    Insn insn;
    u16 offset;
    bool entry = false;        // control comes here from elsewhere than above,
    bool loop = false;         // from below: budget and attention are looked at here
    bool fp_live = false;      // behind it
    bool paired = false;       // LR or SC: see Lifter::start
    const u8* back = nullptr;  // behind it
    const u8* code = nullptr;
    const u8* entering = nullptr;  // the same, after emptying the slots of its loops
    const u8* outer = nullptr;     // the same, from other units
  };
  struct Exit {
    u8* jump;  // linked to a way out at first
    u16 offset;
    bool swapped;  // registers are the unit's
  };
  struct Inner {
    u8* jump;
    unsigned from, to;
  };
  struct Side {  // a branch that is taken
    u8* jump;
    unsigned from;
    unsigned done;
    i64 offset;
  };

  void begin(const Unit& unit);
  void mark_entries();
  void choose_registers();
  void plan_checks();
  void pair_reservations();
  bool leads_back(unsigned place, unsigned& target) const;
  bool loops(unsigned place, unsigned& target) const;
  int place_at(i64 offset) const;
  void emit_guard(u16 offset, bool swapped);
  void emit_entry(unsigned place);
  void empty_slots(unsigned place);
  void emit_place(unsigned place);
  bool emit_lifted(unsigned place);
  void emit_interpreted(unsigned place);
  void note_behind(unsigned place);
  void finish(Flow flow);
  void go(i64 offset);  // the budget is up to date
  void go_elsewhere();  // to the pc in rax
  void spend(unsigned instructions);

  void emit_behind();
  void emit_cold(const ColdStub& stub);
  void emit_page_miss(const PageMiss& miss);
  void keep_page(const PageMiss& miss);
  void emit_float_miss(const FloatMiss& miss, const ColdStub& stub);
  void call_interpreter(const ColdStub& stub, unsigned last);
  void leave_behind(const ColdStub& stub, unsigned place);
  void leave_at(u64 offset);
  void emit_entering();
  void emit_outer_entries();
  void hand_over(Unit& unit);

  Emitter& e;
  const Layout& layout;
  const Thunks& thunks;
  const Options& options;
  Registers registers;
  Lifter lifter;
  Swapper swap;

  // All below is of one unit; it is kept for its memory's sake.
  ExtSet extensions_;
  bool threads_ = false;
  u64 seldom_ = 0;
  std::vector<Place> unit_;
  std::array<i8, 2 * unit_limit> place_of_{};  // by halfword behind the first; -1 within another
  std::vector<Sharing> sharing_;
  LoopPlan loops_;
  u16 end_ = 0;  // offset behind the last instruction; may be page_size
  unsigned done_ = 0;
  unsigned here_ = 0;  // the place that is translated
  std::vector<ColdStub> cold_;
  std::vector<Side> sides_;
  std::vector<Exit> exits_, leaves_;
  std::vector<Inner> inner_;
  std::vector<u8*> guards_;
  const Step* steps_ = nullptr;
};

}  // namespace rvvm::jit
