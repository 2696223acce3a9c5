// The operations the instruction bodies are made of, on the interpreter's values: u64.
//
// A body sees `typename M::U` with + - & | ^ ~ and these functions; an i32 or u64 becomes a U where
// one is wanted, sign-extended. Another model brings its own U and overloads, found by
// argument-dependent lookup. All are total: what the ISA defines for a zero
// divisor or an overflow is what they return; shifts take the amount modulo 64.
#pragma once

#include <bit>

#include "isa/types.hpp"

namespace rvvm {

constexpr u64 sext8(u64 a) { return static_cast<u64>(i64{static_cast<i8>(a)}); }
constexpr u64 sext16(u64 a) { return static_cast<u64>(i64{static_cast<i16>(a)}); }
constexpr u64 sext32(u64 a) { return static_cast<u64>(i64{static_cast<i32>(a)}); }
constexpr u64 zext8(u64 a) { return static_cast<u8>(a); }
constexpr u64 zext16(u64 a) { return static_cast<u16>(a); }
constexpr u64 zext32(u64 a) { return static_cast<u32>(a); }

constexpr u64 sll(u64 a, u64 amount) { return a << (amount & 63); }
constexpr u64 srl(u64 a, u64 amount) { return a >> (amount & 63); }
constexpr u64 sra(u64 a, u64 amount) {
  return static_cast<u64>(static_cast<i64>(a) >> (amount & 63));
}
constexpr u64 rotl(u64 a, u64 amount) { return std::rotl(a, static_cast<int>(amount & 63)); }
constexpr u64 rotr(u64 a, u64 amount) { return std::rotr(a, static_cast<int>(amount & 63)); }

// Conditions are 0 or 1.
constexpr u64 eq(u64 a, u64 b) { return a == b; }
constexpr u64 ne(u64 a, u64 b) { return a != b; }
constexpr u64 ltu(u64 a, u64 b) { return a < b; }
constexpr u64 lt(u64 a, u64 b) { return static_cast<i64>(a) < static_cast<i64>(b); }
constexpr u64 select(u64 condition, u64 a, u64 b) { return condition ? a : b; }

// Unprivileged ISA, M, "Multiplication Operations".
constexpr u64 mul(u64 a, u64 b) { return a * b; }
constexpr u64 mulhu(u64 a, u64 b) { return static_cast<u64>(u128{a} * b >> 64); }
constexpr u64 mulh(u64 a, u64 b) {
  return static_cast<u64>(i128{static_cast<i64>(a)} * static_cast<i64>(b) >> 64);
}
constexpr u64 mulhsu(u64 a, u64 b) {
  return static_cast<u64>(i128{static_cast<i64>(a)} * static_cast<i128>(b) >> 64);
}

// Unprivileged ISA, M, "Division Operations": the table of division by zero and overflow.
constexpr bool overflows(u64 a, u64 b) { return a == u64{1} << 63 && b == ~u64{0}; }
constexpr u64 divu(u64 a, u64 b) { return b == 0 ? ~u64{0} : a / b; }
constexpr u64 remu(u64 a, u64 b) { return b == 0 ? a : a % b; }
constexpr u64 div(u64 a, u64 b) {
  if (b == 0) return ~u64{0};
  return overflows(a, b) ? a : static_cast<u64>(static_cast<i64>(a) / static_cast<i64>(b));
}
constexpr u64 rem(u64 a, u64 b) {
  if (b == 0) return a;
  return overflows(a, b) ? 0 : static_cast<u64>(static_cast<i64>(a) % static_cast<i64>(b));
}

constexpr u64 clz(u64 a) { return static_cast<u64>(std::countl_zero(a)); }
constexpr u64 ctz(u64 a) { return static_cast<u64>(std::countr_zero(a)); }
constexpr u64 cpop(u64 a) { return static_cast<u64>(std::popcount(a)); }
constexpr u64 rev8(u64 a) { return __builtin_bswap64(a); }

// Every bit of a byte becomes the or of them all: gather to its lowest bit, then spread.
constexpr u64 orc_b(u64 a) {
  a |= a >> 1 & 0x7f7f'7f7f'7f7f'7f7f;
  a |= a >> 2 & 0x3f3f'3f3f'3f3f'3f3f;
  a |= a >> 4 & 0x0f0f'0f0f'0f0f'0f0f;
  return (a & 0x0101'0101'0101'0101) * 0xff;
}

// Unprivileged ISA, Zbc: the full carry-less product, of which the instructions show a part.
constexpr u128 carryless_product(u64 a, u64 b) {
  u128 product = 0;
  for (; b != 0; b &= b - 1) product ^= u128{a} << std::countr_zero(b);
  return product;
}
constexpr u64 clmul(u64 a, u64 b) { return static_cast<u64>(carryless_product(a, b)); }
constexpr u64 clmulh(u64 a, u64 b) { return static_cast<u64>(carryless_product(a, b) >> 64); }
constexpr u64 clmulr(u64 a, u64 b) { return static_cast<u64>(carryless_product(a, b) >> 63); }

// Unprivileged ISA, Zbkx: each element of `indices` looks up one of `table`; past its end is 0.
template <unsigned Width>
constexpr u64 xperm(u64 table, u64 indices) {
  constexpr u64 element = (u64{1} << Width) - 1;
  u64 result = 0;
  for (unsigned at = 0; at < 64; at += Width) {
    const u64 from = (indices >> at & element) * Width;
    if (from < 64) result |= (table >> from & element) << at;
  }
  return result;
}
constexpr u64 xperm4(u64 table, u64 indices) { return xperm<4>(table, indices); }
constexpr u64 xperm8(u64 table, u64 indices) { return xperm<8>(table, indices); }

}  // namespace rvvm
