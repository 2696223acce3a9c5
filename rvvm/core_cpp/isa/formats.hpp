// Where an instruction keeps its operands, parsed from the bit strings of the tables.
#pragma once

#include <array>
#include <string_view>

#include "isa/types.hpp"

namespace rvvm {

enum class Format : u8 {
#define FORMAT(name, immediate, text) name,
#include "isa/formats.inc"
#undef FORMAT
  count
};

struct FormatRow {
  std::string_view name;
  std::string_view immediate;
  std::string_view text;
};

inline constexpr std::array<FormatRow, static_cast<std::size_t>(Format::count)> formats{{
#define FORMAT(name, immediate, text) {#name, immediate, text},
#include "isa/formats.inc"
#undef FORMAT
}};

constexpr const FormatRow& row(Format f) { return formats[static_cast<std::size_t>(f)]; }

// A register number or another small field: base + (bits >> shift & mask). A mask of 0 makes it a
// constant: an absent operand is 0, the sp of c.lwsp is 2.
struct Field {
  u8 shift = 0;
  u8 mask = 0;
  u8 base = 0;

  constexpr bool present() const { return mask != 0; }
  constexpr u8 get(u32 bits) const { return static_cast<u8>(base + (bits >> shift & mask)); }
  constexpr u32 put(u8 value) const { return static_cast<u32>((value - base) & mask) << shift; }
};

// The immediate's pieces, as the manual's figures scatter them.
struct Immediate {
  struct Piece {
    u8 from = 0;
    u8 to = 0;
    u32 mask = 0;
  };
  std::array<Piece, 8> pieces{};
  u8 count = 0;
  u8 unused_high = 0;  // bits above a signed immediate's sign; 0 for an unsigned one
  i32 base = 0;        // the value where the encoding has no immediate

  constexpr bool present() const { return count != 0; }

  constexpr i32 get(u32 bits) const {
    u32 value = static_cast<u32>(base);
    for (u8 k = 0; k < count; ++k)
      value |= (bits >> pieces[k].from & pieces[k].mask) << pieces[k].to;
    return static_cast<i32>(value << unused_high) >> unused_high;
  }
  constexpr u32 put(i32 value) const {
    u32 bits = 0;
    for (u8 k = 0; k < count; ++k)
      bits |= (static_cast<u32>(value) >> pieces[k].to & pieces[k].mask) << pieces[k].from;
    return bits;
  }
};

// All that a bit string says.
struct Encoding {
  u32 mask = 0;
  u32 match = 0;
  Field rd, rs1, rs2, rs3, rm;  // rm is the rounding mode, or aq and rl of an atomic
  Immediate imm;
  u8 width = 0;         // 16 or 32
  bool formed = false;  // the string has only known letters, in the right number

  constexpr bool matches(u32 bits) const { return (bits & mask) == match; }
};

namespace detail {

// The bits that an immediate's notation names, in order: "s12 10:5" is 12 10 9 8 7 6 5.
struct BitList {
  std::array<u8, 32> bits{};
  u8 count = 0;
  u8 highest = 0;
  bool is_signed = false;

  constexpr void add(u8 high, u8 low) {
    for (int bit = high; bit >= low; --bit) bits[count++] = static_cast<u8>(bit);
    if (high > highest) highest = high;
  }
};

constexpr u8 read_number(std::string_view text, std::size_t& at) {
  unsigned value = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9')
    value = value * 10 + static_cast<unsigned>(text[at++] - '0');
  return static_cast<u8>(value);
}

constexpr BitList read_bit_list(std::string_view text) {
  BitList list;
  if (text.empty()) return list;
  list.is_signed = text[0] == 's';
  for (std::size_t at = 1; at < text.size(); ++at) {
    u8 high = read_number(text, at);
    u8 low = high;
    if (at < text.size() && text[at] == ':') low = read_number(text, ++at);
    list.add(high, low);
  }
  return list;
}

constexpr void add_bit(Field& field, unsigned position) {
  field.shift = static_cast<u8>(position);
  field.mask = static_cast<u8>(field.mask << 1 | 1);
}

// Grow the last piece downwards when this bit continues it, or start a new one.
constexpr void add_bit(Immediate& imm, unsigned from, u8 to) {
  if (imm.count != 0) {
    Immediate::Piece& last = imm.pieces[imm.count - 1];
    if (last.from == from + 1 && last.to == to + 1) {
      last = {static_cast<u8>(from), to, last.mask << 1 | 1};
      return;
    }
  }
  imm.pieces[imm.count++] = {static_cast<u8>(from), to, 1};
}

constexpr Field* field_of(Encoding& e, char letter) {
  switch (letter) {
    case 'd': return &e.rd;
    case 's': return &e.rs1;
    case 't': return &e.rs2;
    case 'u': return &e.rs3;
    case 'm':
    case 'a':
    case 'l': return &e.rm;
    default: return nullptr;
  }
}

constexpr bool is_immediate(char letter) {
  return letter == 'i' || letter == 'c' || letter == 'p' || letter == 'q';
}

constexpr u8 count_digits(std::string_view bits) {
  u8 width = 0;
  for (char letter : bits) width = static_cast<u8>(width + (letter != ' '));
  return width;
}

// A 16-bit encoding names x8 to x15 by three bits.
constexpr void widen_short_registers(Encoding& e) {
  for (Field* field : {&e.rd, &e.rs1, &e.rs2})
    if (field->mask == 7) field->base = 8;
}

constexpr Encoding parse_encoding(std::string_view bits, std::string_view immediate) {
  Encoding e;
  e.width = count_digits(bits);
  const BitList list = read_bit_list(immediate);
  u8 used = 0;
  bool known = true;
  unsigned position = e.width;
  for (char letter : bits) {
    if (letter == ' ') continue;
    --position;
    if (letter == '0' || letter == '1') {
      e.mask |= u32{1} << position;
      e.match |= static_cast<u32>(letter - '0') << position;
    } else if (is_immediate(letter)) {
      if (used < list.count) add_bit(e.imm, position, list.bits[used]);
      ++used;
    } else if (letter == 'x') {  // rd and rs1 of a 16-bit encoding at once
      add_bit(e.rd, position);
      add_bit(e.rs1, position);
    } else if (Field* field = field_of(e, letter)) {
      add_bit(*field, position);
    } else {
      known = known && letter == '-';
    }
  }
  if (e.width == 16) widen_short_registers(e);
  if (list.is_signed) e.imm.unused_high = static_cast<u8>(31 - list.highest);
  e.formed = known && used == list.count && (e.width == 16 || e.width == 32);
  return e;
}

}  // namespace detail
}  // namespace rvvm
