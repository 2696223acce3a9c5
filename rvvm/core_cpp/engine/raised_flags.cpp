#include "engine/raised_flags.hpp"

#include <array>

#include "hart/csr_rules.hpp"
#include "semantics/bodies.hpp"

namespace rvvm {

namespace {

// A model that runs a body for its flags alone: results, loads and stores go nowhere.
class FlagModel {
 public:
  explicit FlagModel(const HartState& state) : state_{state} {}
  u64 x(unsigned r) const { return state_.x[r]; }
  u64 f(unsigned r) const { return state_.f[r]; }
  void x(unsigned, u64) {}
  void f(unsigned, u64) {}
  template <class T> void load_f(unsigned, u64) {}
  template <class T> void store(u64, u64) {}
  template <class Tag> void fp(const Insn& i) {
    fp::Env env{Tag::rounds ? fp::resolve(i.rm, state_.csr.fcsr >> fcsr_frm_shift) : u8{fp::RNE},
                0};
    fp::evaluate_soft<Tag>(env, operand<Tag::from[0]>(i.rs1), operand<Tag::from[1]>(i.rs2),
                           operand<Tag::from[2]>(i.rs3));
    flags = env.flags;
  }
  u8 flags = 0;

 private:
  template <fp::Operand Kind> u64 operand(unsigned r) const {
    return Kind == fp::Operand::x ? x(r) : f(r);
  }
  const HartState& state_;
};

using Raise = u8 (*)(const HartState&, const Insn&);

template <Op O> u8 run(const HartState& before, const Insn& insn) {
  FlagModel m{before};
  Body<O>::run(m, insn);
  return m.flags;
}
u8 raises_none(const HartState&, const Insn&) { return 0; }

template <Op O> constexpr Raise raise_of() {
  if constexpr (row(O).is(flag::fp))
    return run<O>;
  else
    return raises_none;
}

constexpr std::array<Raise, op_count> raises = {
    raises_none,
#define X(name, bits, format, need, flags) raise_of<Op::name>(),
#include "isa/instructions.inc"
#undef X
};

}  // namespace

u8 raised_flags(const HartState& before, const Insn& insn) {
  return raises[static_cast<std::size_t>(insn.op)](before, insn);
}

}  // namespace rvvm
