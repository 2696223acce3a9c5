// Unprivileged ISA, "A", "Zacas" and "Zabha". Every model orders its atomics as if aq and rl were
// both set, so the bodies need not look at i.rm.
#pragma once

#include <type_traits>

#include "isa/decode.hpp"
#include "semantics/values.hpp"

namespace rvvm {

template <class M> void lr_w(M& m, const Insn& i) { m.template lr<i32>(i.rd, m.x(i.rs1)); }
template <class M> void lr_d(M& m, const Insn& i) { m.template lr<i64>(i.rd, m.x(i.rs1)); }
template <class M> void sc_w(M& m, const Insn& i) {
  m.template sc<i32>(i.rd, m.x(i.rs1), m.x(i.rs2));
}
template <class M> void sc_d(M& m, const Insn& i) {
  m.template sc<i64>(i.rd, m.x(i.rs1), m.x(i.rs2));
}

// The operand as the old value arrives: sign-extended. That keeps the order of unsigned values too.
template <class T, class U> U extended(U value) {
  if constexpr (sizeof(T) == 1) return sext8(value);
  if constexpr (sizeof(T) == 2) return sext16(value);
  if constexpr (sizeof(T) == 4) return sext32(value);
  return value;
}

template <class T, class M, class Combine>
void amo(M& m, const Insn& i, Combine combine) {
  const auto operand = extended<T>(m.x(i.rs2));
  m.template amo<T>(i.rd, m.x(i.rs1), [=](auto old) { return combine(old, operand); });
}

// One operation in four widths; `a` is the old value of memory, `b` the operand.
#define AMO(name, result)                                                             \
  template <class T, class M> void name(M& m, const Insn& i) {                        \
    amo<T>(m, i, []([[maybe_unused]] auto a, auto b) -> decltype(b) { return result; }); \
  }                                                                                   \
  template <class M> void name##_b(M& m, const Insn& i) { name<i8>(m, i); }           \
  template <class M> void name##_h(M& m, const Insn& i) { name<i16>(m, i); }          \
  template <class M> void name##_w(M& m, const Insn& i) { name<i32>(m, i); }          \
  template <class M> void name##_d(M& m, const Insn& i) { name<i64>(m, i); }

AMO(amoswap, b)
AMO(amoadd, a + b)
AMO(amoxor, a ^ b)
AMO(amoand, a & b)
AMO(amoor, a | b)
AMO(amomin, select(lt(a, b), a, b))
AMO(amomax, select(lt(a, b), b, a))
AMO(amominu, select(ltu(a, b), a, b))
AMO(amomaxu, select(ltu(a, b), b, a))

#undef AMO

// Zacas: the model compares with rd, so that it can tell a mismatch from a fault.
template <class T, class M> void compare_and_swap(M& m, const Insn& i) {
  m.template cas<T>(i.rd, m.x(i.rs1), m.x(i.rs2));
}
template <class M> void amocas_b(M& m, const Insn& i) { compare_and_swap<i8>(m, i); }
template <class M> void amocas_h(M& m, const Insn& i) { compare_and_swap<i16>(m, i); }
template <class M> void amocas_w(M& m, const Insn& i) { compare_and_swap<i32>(m, i); }
template <class M> void amocas_d(M& m, const Insn& i) { compare_and_swap<i64>(m, i); }

// The pair r, r + 1; the pair of x0 reads as zero and is not written.
template <class M> void amocas_q(M& m, const Insn& i) { m.cas_pair(i.rd, m.x(i.rs1), i.rs2); }

}  // namespace rvvm
