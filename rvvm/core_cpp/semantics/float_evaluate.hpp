// From f registers to f registers: one operation with its boxes, by softfloat or the shorter way.
#pragma once

#include <type_traits>

#include "semantics/hardfloat.hpp"

namespace rvvm::fp {

// The rounding mode an instruction asks for. The result may be reserved.
constexpr u8 resolve(u8 rm, u8 frm) noexcept { return rm == DYN ? frm : rm; }

// 101, 110 (and 111 in frm) are reserved: we raise an illegal-instruction exception, as the
// ratified version of chapter "F" demanded and the current one permits.
constexpr bool reserved(u8 rm) noexcept { return rm > RMM; }

// What an operation reads of a register.
template <Operand Kind> constexpr u64 take(u64 raw) noexcept {
  if constexpr (Kind == Operand::h)
    return unbox<F16>(raw);
  else if constexpr (Kind == Operand::s)
    return unbox<F32>(raw);
  else
    return raw;
}

// What a result leaves in a register.
template <Operand Kind> constexpr u64 give(u64 value) noexcept {
  if constexpr (Kind == Operand::h)
    return box<F16>(value);
  else if constexpr (Kind == Operand::s)
    return box<F32>(value);
  else
    return value;
}

// Calls `Way::apply` with as many operands as the operation has.
template <class Way, class Tag>
constexpr auto apply(Env& env, u64 a, [[maybe_unused]] u64 b, [[maybe_unused]] u64 c) noexcept {
  if constexpr (Tag::arity == 1)
    return Way::apply(env, a);
  else if constexpr (Tag::arity == 2)
    return Way::apply(env, a, b);
  else
    return Way::apply(env, a, b, c);
}

template <class Tag>
concept HasHost = requires {
  &Host<Tag>::suits;
};

// An operation on registers, in integers only: the reference.
template <class Tag> constexpr u64 evaluate_soft(Env& env, u64 a, u64 b, u64 c) noexcept {
  a = take<Tag::from[0]>(a), b = take<Tag::from[1]>(b), c = take<Tag::from[2]>(c);
  return give<Tag::to>(apply<Tag, Tag>(env, a, b, c));
}

// The same, given the flags already accrued in fflags, which spare the search for one more.
template <class Tag> inline u64 evaluate(Env& env, u8 accrued, u64 a, u64 b, u64 c) noexcept {
  a = take<Tag::from[0]>(a), b = take<Tag::from[1]>(b), c = take<Tag::from[2]>(c);
  if constexpr (HasHost<Tag>) {
    if (Host<Tag>::suits(env, accrued)) {
      if (const Quick quick = apply<Host<Tag>, Tag>(env, a, b, c)) return give<Tag::to>(*quick);
    }
  }
  return give<Tag::to>(apply<Tag, Tag>(env, a, b, c));
}

}  // namespace rvvm::fp
