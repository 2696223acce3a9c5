#include "hart/csr_file.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

std::vector<CsrRow> make_rows() {
  using enum Ext;
  std::vector<CsrRow> rows;
  auto range = [&](const char* name, Csr csr, unsigned first, unsigned last, unsigned stride,
                   Need need, auto read, auto write) {
    for (unsigned n = first; n <= last; n += stride) {
      const u8 index = (n - first) / stride;
      const u16 address = static_cast<u16>(csr) + index * stride;
      rows.push_back({name + std::to_string(n), csr, address, index, need, read, write, nullptr});
    }
  };
#define CSR(address, name, need, rule)                                        \
  rows.push_back({#name, Csr::name, address, 0, need, &rule<Csr::name>::read, \
                  &rule<Csr::name>::write, nullptr});
#define CSR_RANGE(address, name, first, last, stride, need, rule)            \
  range(#name, Csr::name, first, last, stride, need, &rule<Csr::name>::read, \
        &rule<Csr::name>::write);
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  for (CsrRow& row : rows)
    row.guest = &*std::ranges::find(rows, vs_twin(row.address), &CsrRow::address);
  return rows;
}

const std::vector<CsrRow>& rows_storage() {
  static const std::vector<CsrRow> rows = make_rows();
  return rows;
}

// Address to row, for all 4096 addresses.
const std::array<const CsrRow*, 4096>& rows_by_address() {
  static const auto index = [] {
    std::array<const CsrRow*, 4096> by_address{};
    for (const CsrRow& row : rows_storage()) by_address[row.address] = &row;
    return by_address;
  }();
  return index;
}

// ---- Access checks: each returns the verdict of one control, `allowed` when it does not apply

// A control that machine mode keeps from everyone is illegal; one that the hypervisor keeps from
// its guest is virtual ("Virtual-Instruction Exception").
Verdict gate(const Hart& h, bool machine_allows, bool hypervisor_allows) {
  if (!machine_allows) return Verdict::illegal_instruction;
  if (h.mode.virt && !hypervisor_allows) return Verdict::virtual_instruction;
  return Verdict::allowed;
}

bool is_supervisor(const Hart& h) { return h.mode.privilege == Privilege::S; }

Verdict check_privilege(const Hart& h, u16 address, bool write) {
  if (write && csr_read_only(address)) return Verdict::illegal_instruction;
  const u8 need = csr_privilege(address);
  const Mode mode = h.mode;
  if (mode.privilege == Privilege::M || need == 0) return Verdict::allowed;
  if (need == 3) return Verdict::illegal_instruction;
  const bool enough = need == 1 ? is_supervisor(h) : is_supervisor(h) && !mode.virt;
  if (enough) return Verdict::allowed;
  return mode.virt ? Verdict::virtual_instruction : Verdict::illegal_instruction;
}

// "Machine Counter-Enable", "Supervisor Counter-Enable", "hcounteren".
Verdict check_counter(const Hart& h, unsigned counter) {
  auto enabled = [&](u64 word) { return (word >> counter & 1) != 0; };
  const Verdict v = gate(h, enabled(h.csr.mcounteren), enabled(h.csr.hcounteren));
  if (v != Verdict::allowed || is_supervisor(h) || enabled(h.csr.scounteren) || !h.has(Ext::S))
    return v;
  return h.mode.virt ? Verdict::virtual_instruction : Verdict::illegal_instruction;
}

// Sstc: the timer CSRs need STCE and TM at each level above.
Verdict check_timer(const Hart& h) {
  const u64 tm = field::mcounteren::TM.mask();
  return gate(h, stce(h) && (h.csr.mcounteren & tm), vstce(h) && (h.csr.hcounteren & tm));
}

// "mstatus.TVM" and "hstatus.VTVM" keep the translation root from supervisors.
Verdict check_root(const Hart& h) {
  return gate(h, h.mode.virt || !field::mstatus::TVM.get(h.csr.mstatus),
              !field::hstatus::VTVM.get(h.csr.hstatus));
}

// Smstateen: a zero bit makes the state it guards inaccessible below.
Verdict check_stateen(const Hart& h, unsigned index, u64 bit) {
  const bool machine = !h.has(Ext::Smstateen) || (h.csr.mstateen[index] & bit);
  const bool hypervisor = !h.has(Ext::Ssstateen) || (h.csr.hstateen[index] & bit);
  return gate(h, machine, hypervisor);
}

// Controls of single CSRs. They govern modes below M only, except FS, which governs all.
Verdict check_controls(const Hart& h, const CsrRow& row) {
  const bool below_machine = h.mode.privilege != Privilege::M;
  switch (row.csr) {
    case Csr::fflags:
    case Csr::frm:
    case Csr::fcsr: return fp_enabled(h) ? Verdict::allowed : Verdict::illegal_instruction;
    case Csr::cycle:
    case Csr::time:
    case Csr::instret:
    case Csr::hpmcounter:
      return below_machine ? check_counter(h, row.address & 31) : Verdict::allowed;
    case Csr::stimecmp:
    case Csr::vstimecmp: return below_machine ? check_timer(h) : Verdict::allowed;
    case Csr::satp:
    case Csr::hgatp: return below_machine ? check_root(h) : Verdict::allowed;
    case Csr::senvcfg:
    case Csr::henvcfg:
      return below_machine ? check_stateen(h, 0, field::mstateen::ENVCFG.mask()) : Verdict::allowed;
    case Csr::sstateen:
    case Csr::hstateen:
      return below_machine ? check_stateen(h, row.index, field::mstateen::SE.mask())
                           : Verdict::allowed;
    default: return Verdict::allowed;
  }
}

}  // namespace

std::span<const CsrRow> csr_rows() { return rows_storage(); }

const CsrRow* find_csr(const Hart& h, u16 address) {
  const CsrRow* row = rows_by_address()[address & 4095];
  return row && row->need.met(h.extensions) ? row : nullptr;
}

Verdict check_csr_access(const Hart& h, const CsrRow& row, bool write) {
  const Verdict v = check_privilege(h, row.address, write);
  // A guest's access that HS-mode itself could not make is illegal, not virtual.
  const Verdict controls = check_controls(h, row);
  if (v == Verdict::virtual_instruction && controls == Verdict::illegal_instruction)
    return controls;
  return v == Verdict::allowed ? controls : v;
}

}  // namespace rvvm
