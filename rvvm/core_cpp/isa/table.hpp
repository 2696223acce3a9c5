// The instruction tables, parsed from instructions.inc and compressed.inc at compile time.
// What must hold between the rows is asserted in table.cpp.
#pragma once

#include <array>
#include <string_view>

#include "isa/extensions.hpp"
#include "isa/formats.hpp"
#include "isa/types.hpp"

namespace rvvm {

enum class Op : u16 {
  illegal,
#define X(name, bits, format, need, flags) name,
#include "isa/instructions.inc"
#undef X
  count
};

inline constexpr std::size_t op_count = static_cast<std::size_t>(Op::count);

// The column of flags.
using Flags = u8;
namespace flag {
inline constexpr Flags native = 1;   // the body can be lifted by a translator
inline constexpr Flags helper = 2;   // the body is called
inline constexpr Flags jumps = 4;    // writes pc
inline constexpr Flags traps = 8;    // can raise
inline constexpr Flags serial = 16;  // needs the exact hart state and ends a block
inline constexpr Flags fp = 32;      // needs FS != Off
inline constexpr Flags rounds = fp | traps;
inline constexpr Flags privileged = helper | serial | traps;
}  // namespace flag

struct Row {
  std::string_view name;  // as in Op: underscores for dots
  std::string_view bits{};
  Format format = Format::None;
  Flags flags = 0;
  Need need{};
  Encoding encoding{};

  constexpr u32 mask() const { return encoding.mask; }
  constexpr u32 match() const { return encoding.match; }
  constexpr bool is(Flags wanted) const { return (flags & wanted) == wanted; }
};

namespace detail {

constexpr Row make_row(std::string_view name, std::string_view bits, Format format, Need need,
                       Flags flags) {
  return {name, bits, format, flags, need, parse_encoding(bits, row(format).immediate)};
}

constexpr std::array<Row, op_count> make_rows() {
  using enum Ext;
  using namespace flag;
#define X(name, bits, format, need, flags) make_row(#name, bits, Format::format, need, flags),
  return {{
      Row{.name = "illegal", .flags = flag::helper | flag::traps},
#include "isa/instructions.inc"
  }};
#undef X
}

}  // namespace detail

inline constexpr std::array<Row, op_count> rows = detail::make_rows();

constexpr const Row& row(Op op) { return rows[static_cast<std::size_t>(op)]; }

// A 16-bit encoding is another way to write a 32-bit instruction.
struct CompressedRow {
  std::string_view name;
  std::string_view bits;
  Op op = Op::illegal;
  Need need{};
  Encoding encoding{};
};

namespace detail {

// Operands that a 16-bit encoding does not write down.
struct Implied {
  u8 rd = 0;
  u8 rs1 = 0;
  u8 rs2 = 0;
  i32 imm = 0;
};

constexpr void imply(Field& field, u8 value) {
  if (!field.present()) field.base = value;
}

constexpr CompressedRow make_compressed(std::string_view name, std::string_view bits,
                                        std::string_view immediate, Op op, Need need,
                                        Implied implied) {
  CompressedRow r{name, bits, op, need, parse_encoding(bits, immediate)};
  imply(r.encoding.rd, implied.rd);
  imply(r.encoding.rs1, implied.rs1);
  imply(r.encoding.rs2, implied.rs2);
  r.encoding.imm.base = implied.imm;
  return r;
}

enum class CompressedName : u16 {
#define C(name, bits, immediate, op, need, ...) name,
#include "isa/compressed.inc"
#undef C
  count
};

inline constexpr std::size_t compressed_count = static_cast<std::size_t>(CompressedName::count);

constexpr std::array<CompressedRow, compressed_count> make_compressed_rows() {
  using enum Ext;
#define C(name, bits, immediate, op, need, ...) \
  make_compressed(#name, bits, immediate, Op::op, need, Implied{__VA_ARGS__}),
  return {{
#include "isa/compressed.inc"
  }};
#undef C
}

}  // namespace detail

inline constexpr std::array<CompressedRow, detail::compressed_count> compressed_rows =
    detail::make_compressed_rows();

}  // namespace rvvm
