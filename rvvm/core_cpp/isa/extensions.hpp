// Extension names and sets of them; the list itself is extensions.inc.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "isa/types.hpp"

namespace rvvm {

enum class Ext : u8 {
#define EXT(name, text, implies, meaning) name,
#define JOINT(when, then)
#include "isa/extensions.inc"
#undef JOINT
#undef EXT
  count
};

inline constexpr std::size_t extension_count = static_cast<std::size_t>(Ext::count);

// A set of extensions: 128 bits, a value.
class ExtSet {
 public:
  constexpr ExtSet() = default;
  constexpr ExtSet(Ext e) { insert(e); }
  constexpr ExtSet(std::initializer_list<Ext> list) {
    for (Ext e : list) insert(e);
  }

  constexpr bool has(Ext e) const { return words_[index(e)] >> bit(e) & 1; }
  constexpr bool contains(ExtSet other) const { return (*this & other) == other; }
  constexpr bool intersects(ExtSet other) const { return !(*this & other).empty(); }
  constexpr bool empty() const { return (words_[0] | words_[1]) == 0; }

  constexpr void insert(Ext e) { words_[index(e)] |= u64{1} << bit(e); }
  constexpr void erase(Ext e) { words_[index(e)] &= ~(u64{1} << bit(e)); }

  friend constexpr ExtSet operator|(ExtSet a, ExtSet b) {
    return {a.words_[0] | b.words_[0], a.words_[1] | b.words_[1]};
  }
  friend constexpr ExtSet operator&(ExtSet a, ExtSet b) {
    return {a.words_[0] & b.words_[0], a.words_[1] & b.words_[1]};
  }
  constexpr ExtSet& operator|=(ExtSet other) { return *this = *this | other; }
  constexpr bool operator==(const ExtSet&) const = default;

  // The whole set as two words, for block keys and hashes.
  constexpr const std::array<u64, 2>& words() const { return words_; }

 private:
  constexpr ExtSet(u64 low, u64 high) : words_{low, high} {}
  static constexpr std::size_t index(Ext e) { return static_cast<std::size_t>(e) / 64; }
  static constexpr unsigned bit(Ext e) { return static_cast<unsigned>(e) % 64; }

  std::array<u64, 2> words_{};
};

static_assert(extension_count <= 128, "ExtSet holds 128 extensions");

constexpr ExtSet operator|(Ext a, Ext b) { return ExtSet{a} | ExtSet{b}; }

struct Extension {
  Ext ext;
  std::string_view name;  // as in the devicetree property riscv,isa-extensions
  ExtSet implies;         // directly; closure() follows them all
  std::string_view meaning;
};

namespace detail {
constexpr std::array<Extension, extension_count> make_extensions() {
  using enum Ext;
  constexpr ExtSet none{};
  return {{
#define EXT(name, text, implies, meaning) {name, text, implies, meaning},
#define JOINT(when, then)
#include "isa/extensions.inc"
#undef JOINT
#undef EXT
  }};
}
}  // namespace detail

inline constexpr std::array<Extension, extension_count> extensions = detail::make_extensions();

constexpr std::string_view name(Ext e) { return extensions[static_cast<std::size_t>(e)].name; }

constexpr std::optional<Ext> find_extension(std::string_view devicetree_name) {
  for (const Extension& row : extensions)
    if (row.name == devicetree_name) return row.ext;
  return std::nullopt;
}

namespace detail {
constexpr ExtSet imply_once(ExtSet have) {
  using enum Ext;
  for (const Extension& row : extensions)
    if (have.has(row.ext)) have |= row.implies;
#define EXT(name, text, implies, meaning)
#define JOINT(when, then) \
  if (have.contains(when)) have |= then;
#include "isa/extensions.inc"
#undef JOINT
#undef EXT
  return have;
}
}  // namespace detail

// Everything the named extensions bring with them.
constexpr ExtSet closure(ExtSet have) {
  for (ExtSet next = detail::imply_once(have); next != have; next = detail::imply_once(have))
    have = next;
  return have;
}

// What a hart of this emulator can have: every row of the list.
constexpr ExtSet all_extensions() {
  ExtSet all;
  for (const Extension& row : extensions) all.insert(row.ext);
  return all;
}

// What a row of a table asks of a hart: any(...) or all(...) of some extensions.
class Need {
 public:
  constexpr Need() = default;
  constexpr Need(Ext e) : set_{e} {}
  constexpr Need(ExtSet set, bool any) : set_{set}, any_{any} {}

  constexpr bool met(ExtSet have) const {
    return any_ ? have.intersects(set_) : have.contains(set_);
  }
  constexpr ExtSet set() const { return set_; }
  constexpr bool any() const { return any_; }

 private:
  ExtSet set_{};
  bool any_ = false;
};

template <class... E>
constexpr Need any(E... extensions) {
  return {ExtSet{extensions...}, true};
}

template <class... E>
constexpr Need all(E... extensions) {
  return {ExtSet{extensions...}, false};
}

}  // namespace rvvm
