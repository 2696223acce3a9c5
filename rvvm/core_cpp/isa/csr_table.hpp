// The CSR rows as data: addresses, privilege, fields and masks, all derived from csrs.inc and
// csr_fields.inc.
#pragma once
#include "isa/types.hpp"

namespace rvvm {

// A CSR by name; the value is its address (for a range, its first address).
enum class Csr : u16 {
#define CSR(address, name, need, rule) name = address,
#define CSR_RANGE(address, name, first, last, stride, need, rule) name = address,
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
};

// Privileged spec, "CSR Address Mapping Conventions".
constexpr bool csr_read_only(u16 address) { return (address >> 10 & 3) == 3; }
constexpr u8 csr_privilege(u16 address) { return address >> 8 & 3; }  // 0 U, 1 S, 2 H and VS, 3 M

inline constexpr std::size_t csr_count = 0
#define CSR(address, name, need, rule) +1
#define CSR_RANGE(address, name, first, last, stride, need, rule) +((last) - (first)) / (stride) + 1
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
    ;

constexpr bool is_csr(u16 address) {
#define CSR(number, name, need, rule) \
  if (address == number) return true;
#define CSR_RANGE(number, name, first, last, stride, need, rule) \
  if (address >= number && (address - number) % stride == 0 &&   \
      (address - number) / stride <= (last - first) / stride)    \
    return true;
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  return false;
}
// V=1: supervisor CSRs are replaced by their VS twins, whose addresses are 0x100 further
// ("Hypervisor and Virtual Supervisor CSRs").
constexpr u16 vs_twin(u16 address) {
  return address >> 8 == 1 && is_csr(address + 0x100) ? address + 0x100 : address;
}

enum class FieldKind : u8 { rw, ro, warl };

struct CsrField {
  Csr csr;
  const char* name;
  u8 high, low;
  FieldKind kind;
  constexpr u64 mask() const {
    return (high - low == 63 ? ~u64{0} : (u64{1} << (high - low + 1)) - 1) << low;
  }
  constexpr u64 get(u64 value) const { return (value & mask()) >> low; }
  constexpr u64 with(u64 value, u64 field) const {
    return (value & ~mask()) | (field << low & mask());
  }
};

inline constexpr CsrField csr_fields[] = {
#define FIELD(csr, name, high, low, kind) {Csr::csr, #name, high, low, FieldKind::kind},
#include "isa/csr_fields.inc"
#undef FIELD
};

// A field by name: field::mstatus::MPP.get(value).
namespace field {
#define FIELD(csr, name, high, low, kind)                                      \
  namespace csr {                                                              \
  inline constexpr CsrField name{Csr::csr, #name, high, low, FieldKind::kind}; \
  }
#include "isa/csr_fields.inc"
#undef FIELD
}  // namespace field

// The bits software can change: the union of the fields that are not read-only.
constexpr u64 csr_write_mask(Csr csr) {
  u64 mask = 0;
  bool described = false;
  for (const CsrField& f : csr_fields) {
    if (f.csr != csr) continue;
    described = true;
    if (f.kind != FieldKind::ro) mask |= f.mask();
  }
  return described ? mask : ~u64{0};
}

consteval bool fields_are_apart() {
  for (const CsrField& a : csr_fields)
    for (const CsrField& b : csr_fields)
      if (&a != &b && a.csr == b.csr && (a.mask() & b.mask())) return false;
  return true;
}
static_assert(fields_are_apart(), "two fields of one CSR claim the same bit");

}  // namespace rvvm
