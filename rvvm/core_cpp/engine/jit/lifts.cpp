#include "engine/jit/lifts.hpp"

#include "engine/jit/lower_float.hpp"
#include "semantics/bodies.hpp"

namespace rvvm::jit {

namespace {

template <Op O> void lift(Lifter& m, const Insn& insn) { Body<O>::run(m, insn); }
template <Op O> constexpr Lift lift_of() {
  // Their handlers are the ordinary case; these do without a call.
  constexpr bool reserves = O == Op::lr_w || O == Op::lr_d || O == Op::sc_w || O == Op::sc_d;
  if constexpr (row(O).is(flag::native) || reserves)
    return lift<O>;
  else
    return nullptr;
}
constexpr Lift lifts[] = {
    nullptr,
#define X(name, bits, format, need, flags) lift_of<Op::name>(),
#include "isa/instructions.inc"
#undef X
};

}  // namespace

Lift lift_of(Op op) { return lifts[static_cast<std::size_t>(op)]; }

}  // namespace rvvm::jit
