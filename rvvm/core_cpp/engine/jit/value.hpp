// The values on which bodies are lifted: expressions over guest registers, made by the same
// operators and functions that compute with integers in the interpreter (semantics/values.hpp).
#pragma once
#include <concepts>
#include <vector>

#include "semantics/values.hpp"

namespace rvvm::jit {

// clang-format off
enum class Kind : u8 {
  // Leaves: a constant, guest registers, an offset in the page of the pc, a register of the host.
  constant, x, f, pc, host,
  // One operand.
  sext8, sext16, sext32, zext8, zext16, zext32, not_, clz, ctz, cpop, rev8, orc_b,
  // Two operands.
  add, sub, and_, or_, xor_, sll, srl, sra, rotl, rotr, eq, ne, lt, ltu,
  mul, mulh, mulhu, mulhsu, div, divu, rem, remu, clmul, clmulh, clmulr, xperm4, xperm8,
  // Condition in c.
  select,
};
// clang-format on
constexpr bool is_leaf(Kind kind) { return kind <= Kind::host; }

struct Node {
  Kind kind;
  u8 reg = 0;
  i16 a = -1, b = -1, c = -1;
  u64 imm = 0;
};

using Arena = std::vector<Node>;

class Value {
 public:
  template <std::integral T>
  Value(T constant) : imm_{static_cast<u64>(static_cast<i64>(constant))} {}
  Value(Arena& arena, const Node& node) : arena_{&arena}, id_{static_cast<i16>(arena.size())} {
    arena.push_back(node);
  }

  bool constant() const { return !arena_; }
  u64 imm() const { return imm_; }
  Arena* arena() const { return arena_; }
  i16 id(Arena& arena) const {
    return arena_ ? id_ : Value(arena, {Kind::constant, 0, -1, -1, -1, imm_}).id_;
  }
  const Node& node() const { return (*arena_)[id_]; }

 private:
  Arena* arena_ = nullptr;
  i16 id_ = -1;
  u64 imm_ = 0;
};

// Constants are computed at once; the rest becomes a node.
template <class Fold> Value unary(Kind kind, Value a, Fold fold) {
  if (a.constant()) return fold(a.imm());
  Arena& arena = *a.arena();
  return {arena, {kind, 0, a.id(arena)}};
}
template <class Fold> Value binary(Kind kind, Value a, Value b, Fold fold) {
  if (a.constant() && b.constant()) return fold(a.imm(), b.imm());
  Arena& arena = *(a.constant() ? b.arena() : a.arena());
  const i16 left = a.id(arena), right = b.id(arena);
  return {arena, {kind, 0, left, right}};
}

// The program counter moves with what is added to it, so that jump targets stay known.
inline Value operator+(Value a, Value b) {
  if (a.constant() && !a.imm()) return b;
  if (b.constant() && !b.imm()) return a;
  if (b.constant() && !a.constant() && a.node().kind == Kind::pc)
    return {*a.arena(), {Kind::pc, 0, -1, -1, -1, a.node().imm + b.imm()}};
  return binary(Kind::add, a, b, [](u64 p, u64 q) { return p + q; });
}

#define OPERATOR(symbol, kind)                                                \
  inline Value operator symbol(Value a, Value b) {                            \
    return binary(Kind::kind, a, b, [](u64 p, u64 q) { return p symbol q; }); \
  }
OPERATOR(-, sub)
OPERATOR(&, and_)
OPERATOR(|, or_)
OPERATOR(^, xor_)
#undef OPERATOR
inline Value operator~(Value a) {
  return unary(Kind::not_, a, [](u64 p) { return ~p; });
}

#define UNARY(name)                                                   \
  inline Value name(Value a) {                                        \
    return unary(Kind::name, a, [](u64 p) { return rvvm::name(p); }); \
  }
UNARY(sext8)
UNARY(sext16)
UNARY(sext32)
UNARY(zext8)
UNARY(zext16)
UNARY(zext32) UNARY(clz) UNARY(ctz) UNARY(cpop) UNARY(rev8) UNARY(orc_b)
#undef UNARY

#define BINARY(name)                                                                \
  inline Value name(Value a, Value b) {                                             \
    return binary(Kind::name, a, b, [](u64 p, u64 q) { return rvvm::name(p, q); }); \
  }
    BINARY(sll) BINARY(srl) BINARY(sra) BINARY(rotl) BINARY(rotr) BINARY(eq) BINARY(ne) BINARY(lt)
        BINARY(ltu) BINARY(mul) BINARY(mulh) BINARY(mulhu) BINARY(mulhsu) BINARY(div) BINARY(divu)
            BINARY(rem) BINARY(remu) BINARY(clmul) BINARY(clmulh) BINARY(clmulr) BINARY(xperm4)
                BINARY(xperm8)
#undef BINARY

                    inline Value select(Value condition, Value a, Value b) {
  if (condition.constant()) return condition.imm() ? a : b;
  Arena& arena = *condition.arena();
  const i16 yes = a.id(arena), no = b.id(arena);
  return {arena, {Kind::select, 0, yes, no, condition.id(arena)}};
}

}  // namespace rvvm::jit
