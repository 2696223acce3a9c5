// Decoding by bucket: the bits that tell most rows apart choose a short list, most specific first.
#include "isa/decode.hpp"

#include <algorithm>
#include <bit>
#include <vector>

namespace rvvm {
namespace {

// Where the rows of one width keep the bits that choose a bucket.
struct WideKey {  // opcode, funct3, funct5
  static constexpr u32 bits = 0xf800'707c;
  static constexpr std::size_t count = 1 << 13;
  static constexpr u32 of(u32 word) {
    return (word >> 2 & 0x1f) | (word >> 12 & 7) << 5 | (word >> 27) << 8;
  }
};

struct CompressedKey {  // quadrant, funct3, the bits of the register-register instructions
  static constexpr u32 bits = 0xfc03;
  static constexpr std::size_t count = 1 << 8;
  static constexpr u32 of(u32 word) { return (word & 3) | (word >> 10 & 0x3f) << 2; }
};

// The numbers of the rows that can match a word with a given key.
template <class Key>
class Buckets {
 public:
  template <class Rows>
  explicit Buckets(const Rows& rows) {
    for (u16 number : most_specific_first(rows)) add(number, rows[number].encoding);
  }

  const std::vector<u16>& of(u32 word) const { return lists_[Key::of(word)]; }

 private:
  template <class Rows>
  static std::vector<u16> most_specific_first(const Rows& rows) {
    std::vector<u16> numbers;
    for (u16 number = 0; number < rows.size(); ++number)
      if (rows[number].encoding.mask != 0) numbers.push_back(number);
    std::ranges::stable_sort(numbers, std::greater{},
                             [&](u16 n) { return std::popcount(rows[n].encoding.mask); });
    return numbers;
  }

  // Walk over every setting of the key bits that the row leaves free.
  void add(u16 number, const Encoding& e) {
    const u32 free = Key::bits & ~e.mask;
    u32 setting = free;
    do {
      lists_[Key::of(e.match | setting)].push_back(number);
      setting = (setting - 1) & free;
    } while (setting != free);
  }

  std::array<std::vector<u16>, Key::count> lists_;
};

const Buckets<WideKey> wide_buckets{rows};
const Buckets<CompressedKey> compressed_buckets{compressed_rows};

template <class Rows, class Key>
const auto* find(const Rows& rows, const Buckets<Key>& buckets, u32 bits, const ExtSet& have) {
  for (u16 number : buckets.of(bits))
    if (rows[number].encoding.matches(bits) && rows[number].need.met(have)) return &rows[number];
  return static_cast<const typename Rows::value_type*>(nullptr);
}

Insn extract(const Encoding& e, Op op, u32 bits) {
  return {.imm = e.imm.get(bits),
          .bits = bits,
          .op = op,
          .rd = e.rd.get(bits),
          .rs1 = e.rs1.get(bits),
          .rs2 = e.rs2.get(bits),
          .rs3 = e.rs3.get(bits),
          .rm = e.rm.get(bits),
          .length = static_cast<u8>(e.width / 8)};
}

// Unprivileged ISA, Zacas: "encodings with odd numbered registers specified in rs2 and rd are
// reserved". F: the rounding modes 101 and 110 are reserved.
bool reserved(const Row& r, const Insn& insn) {
  if (r.format == Format::AmoPair) return (insn.rd | insn.rs2) & 1;
  return r.is(flag::rounds) && r.encoding.rm.present() && (insn.rm == 5 || insn.rm == 6);
}

Insn illegal(u32 bits, u8 length) { return {.bits = bits, .length = length}; }

Insn decode_compressed(u32 bits, const ExtSet& have) {
  const CompressedRow* r = find(compressed_rows, compressed_buckets, bits, have);
  if (!r || r->op == Op::illegal) return illegal(bits, 2);
  return extract(r->encoding, r->op, bits);
}

Insn decode_wide(u32 bits, const ExtSet& have) {
  const Row* r = find(rows, wide_buckets, bits, have);
  if (!r) return illegal(bits, 4);
  const Insn insn = extract(r->encoding, static_cast<Op>(r - rows.data()), bits);
  return reserved(*r, insn) ? illegal(bits, 4) : insn;
}

}  // namespace

Insn decode(u32 bits, const ExtSet& have) noexcept {
  if (length_of(bits) == 2) return decode_compressed(bits & 0xffff, have);
  return decode_wide(bits, have);
}

u32 encode(const Insn& insn) noexcept {
  const Encoding& e = row(insn.op).encoding;
  return e.match | e.rd.put(insn.rd) | e.rs1.put(insn.rs1) | e.rs2.put(insn.rs2) |
         e.rs3.put(insn.rs3) | e.rm.put(insn.rm) | e.imm.put(insn.imm);
}

}  // namespace rvvm
