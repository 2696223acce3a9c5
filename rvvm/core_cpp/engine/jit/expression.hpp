// Computes an expression into a host register, with rax, rcx and rdx to work in.
#pragma once
#include "engine/jit/layout.hpp"
#include "engine/jit/value.hpp"

namespace rvvm::jit {

// The scratch registers, as a set.
using Scratch = u8;
constexpr Scratch scratch_all = 7;

class ExpressionEmitter {
 public:
  ExpressionEmitter(Emitter& e, const Layout& layout, const Registers& registers,
                    const HostFeatures& host)
      : e{e}, layout{layout}, registers{registers}, host{host} {}

  // False where there is no lowering for it: then nothing that was written counts.
  bool into(const Arena& arena, i16 id, Reg d, Scratch free);
  // Into wherever is convenient: the guest register's own, or `d`.
  bool anywhere(const Arena& arena, i16 id, Reg d, Scratch free, Reg& where);
  // Writes guest register rd.
  bool assign(const Arena& arena, i16 id, unsigned rd);
  // Sets the flags for a condition.
  bool condition(const Arena& arena, i16 id, Cond& holds);

 private:
  bool leaf(const Arena& arena, i16 id, Reg d);
  bool unary_op(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool binary_op(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool alu(const Arena& arena, const Node& n, Alu op, Reg d, Scratch free);
  bool shift(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool high_product(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool divide(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool compare(const Arena& arena, const Node& n, Scratch free, Cond& holds);
  bool choose(const Arena& arena, const Node& n, Reg d, Scratch free);
  bool in_memory(const Arena& arena, const Node& n, unsigned rd);
  bool far(const Node& n) const { return n.kind == Kind::x && n.reg && !registers.x.pinned(n.reg); }
  bool safe_in_place(const Arena& arena, i16 id, unsigned rd) const;
  bool mentions(const Arena& arena, i16 id, unsigned guest) const;

  Emitter& e;
  const Layout& layout;
  const Registers& registers;
  const HostFeatures& host;
};

}  // namespace rvvm::jit
