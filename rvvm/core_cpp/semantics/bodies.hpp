// Body<Op>: the body of each row of the instruction table. A row without a body does not compile.
#pragma once
#include "isa/table.hpp"
#include "semantics/atomic.hpp"
#include "semantics/bitmanip.hpp"
#include "semantics/csr.hpp"
#include "semantics/floating.hpp"
#include "semantics/hints.hpp"
#include "semantics/hypervisor.hpp"
#include "semantics/integer.hpp"
#include "semantics/memory.hpp"
#include "semantics/muldiv.hpp"
#include "semantics/system.hpp"

namespace rvvm {

template <class M> void illegal(M& m, const Insn&) { m.illegal(); }

template <Op O>
struct Body;

template <>
struct Body<Op::illegal> {
  template <class M> static void run(M& m, const Insn& i) { illegal(m, i); }
};
#define X(name, bits, format, need, flags) \
  template <> \
  struct Body<Op::name> { \
    template <class M> static void run(M& m, const Insn& i) { rvvm::name(m, i); } \
  };
#include "isa/instructions.inc"
#undef X

}  // namespace rvvm
