// What must hold for the tables. It is asserted here, so that it is evaluated once.
#include "isa/table.hpp"

#include "isa/types.hpp"

namespace rvvm {
namespace {

constexpr bool meet(const Encoding& a, const Encoding& b) {
  return ((a.match ^ b.match) & a.mask & b.mask) == 0;
}

template <class Rows>
constexpr bool is_row(const Rows& rows, u32 mask, u32 match) {
  for (const auto& r : rows)
    if (r.encoding.mask == mask && r.encoding.match == match) return true;
  return false;
}

// Where two rows meet there must be a row for just that: then it wins, being the most specific. A
// hint or an alias, which lies within another row, is that row itself.
template <class Rows>
constexpr bool disjoint(const Rows& rows) {
  for (std::size_t n = 0; n < rows.size(); ++n)
    for (std::size_t k = n + 1; k < rows.size(); ++k) {
      const Encoding& a = rows[n].encoding;
      const Encoding& b = rows[k].encoding;
      if (a.mask == b.mask && a.match == b.match) return false;
      if (meet(a, b) && !is_row(rows, a.mask | b.mask, a.match | b.match)) return false;
    }
  return true;
}

// The operand that a letter of a format's text shows, as a letter of a bit string.
constexpr char shown_operand(char letter) {
  switch (letter) {
    case 'D': return 'd';
    case 'S':
    case 'z':
    case 'k': return 's';
    case 'T': return 't';
    case 'U': return 'u';
    case 'h':
    case 'j': return 'i';
    default: return letter;
  }
}

constexpr bool shows(std::string_view text, char operand) {
  for (char letter : text)
    if (shown_operand(letter) == operand) return true;
  return false;
}

constexpr bool agrees_with_format(const Row& r) {
  const std::string_view text = row(r.format).text;
  for (char operand : {'d', 's', 't', 'u', 'm', 'c', 'p', 'q'})
    if ((r.bits.find(operand) != r.bits.npos) != shows(text, operand)) return false;
  return true;
}

// The fixed places of the operands (Unprivileged ISA, "Immediate Encoding Variants").
constexpr bool in_place(const Field& field, u8 shift, u8 mask) {
  return !field.present() || (field.shift == shift && field.mask == mask);
}

constexpr bool operands_in_place(const Row& r) {
  const Encoding& e = r.encoding;
  const bool atomic = r.bits.find('a') != r.bits.npos;
  return in_place(e.rd, 7, 31) && in_place(e.rs1, 15, 31) && in_place(e.rs2, 20, 31) &&
         in_place(e.rs3, 27, 31) && (atomic ? in_place(e.rm, 25, 3) : in_place(e.rm, 12, 7));
}

constexpr bool has_one_engine_flag(const Row& r) {
  return r.is(flag::native) != r.is(flag::helper);
}

// Op::illegal has a row but no encoding.
constexpr auto encoded_rows() {
  std::array<Row, op_count - 1> encoded{};
  for (std::size_t n = 0; n < encoded.size(); ++n) encoded[n] = rows[n + 1];
  return encoded;
}

constexpr bool all_rows(bool (*holds)(const Row&)) {
  for (const Row& r : encoded_rows())
    if (!holds(r)) return false;
  return true;
}

constexpr bool well_formed_wide(const Row& r) {
  return r.encoding.formed && r.encoding.width == 32;
}

constexpr bool well_formed_compressed() {
  for (const CompressedRow& r : compressed_rows)
    if (!r.encoding.formed || r.encoding.width != 16) return false;
  return true;
}

static_assert(all_rows(well_formed_wide), "a bit string of instructions.inc is malformed");
static_assert(well_formed_compressed(), "a bit string of compressed.inc is malformed");
static_assert(all_rows(agrees_with_format), "a bit string disagrees with its format");
static_assert(all_rows(operands_in_place), "an operand is not where the ISA has it");
static_assert(all_rows(has_one_engine_flag), "a row is either native or helper");
static_assert(disjoint(encoded_rows()), "two rows of instructions.inc claim one encoding");
static_assert(disjoint(compressed_rows), "two rows of compressed.inc claim one encoding");

}  // namespace
}  // namespace rvvm
