#include "hart/csr_file.hpp"

#include <algorithm>
#include <array>

#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

constexpr CsrControl control_of(Csr csr) {
  switch (csr) {
    case Csr::fflags:
    case Csr::frm:
    case Csr::fcsr: return CsrControl::fp;
    case Csr::cycle:
    case Csr::time:
    case Csr::instret:
    case Csr::hpmcounter: return CsrControl::counter;
    case Csr::stimecmp:
    case Csr::vstimecmp: return CsrControl::timer;
    case Csr::satp:
    case Csr::hgatp: return CsrControl::root;
    case Csr::senvcfg:
    case Csr::henvcfg: return CsrControl::envcfg;
    case Csr::sstateen:
    case Csr::hstateen: return CsrControl::stateen;
    default: return CsrControl::none;
  }
}

template <class Rule> constexpr CsrWrite write_of(Csr csr) {
  if (OnlyStores<Rule>) return CsrWrite::stores;
  const bool status = csr == Csr::mstatus || csr == Csr::sstatus || csr == Csr::vsstatus;
  return status ? CsrWrite::status : CsrWrite::other;
}

template <class Rule> consteval bool shows_wires() {
  return requires { Rule::shows_wires; };
}

template <class Rule>
constexpr CsrRow make_row(std::string_view text, Csr csr, unsigned index, unsigned stride,
                          Need need) {
  const u16 address = static_cast<u16>(csr) + index * stride;
  return {.read = &Rule::read,
          .write = &Rule::write,
          .csr = csr,
          .address = address,
          .index = static_cast<u8>(index),
          .privilege = csr_privilege(address),
          .read_only = csr_read_only(address),
          .control = control_of(csr),
          .written = write_of<Rule>(csr),
          .shows_wires = shows_wires<Rule>(),
          .text = text,
          .need = need};
}

consteval std::array<CsrRow, csr_count + 1> make_table() {
  using enum Ext;
  std::array<CsrRow, csr_count + 1> table{};
  std::size_t filled = 0;
#define CSR(address, name, need, rule) \
  table[++filled] = make_row<rule<Csr::name>>(#name, Csr::name, 0, 0, need);
#define CSR_RANGE(address, name, first, last, stride, need, rule)                        \
  for (unsigned n = first; n <= last; n += stride) {                                     \
    table[++filled] =                                                                    \
        make_row<rule<Csr::name>>(#name, Csr::name, (n - first) / stride, stride, need); \
    table[filled].of_range = true;                                                       \
    table[filled].number = n;                                                            \
  }
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
  for (CsrRow& row : table)
    row.guest = std::ranges::find(table, vs_twin(row.address), &CsrRow::address) - table.begin();
  return table;
}

consteval std::array<u8, 4096> make_numbers() {
  std::array<u8, 4096> numbers{};
  constexpr auto table = make_table();
  for (std::size_t k = 1; k < table.size(); ++k) numbers[table[k].address] = k;
  return numbers;
}
static_assert(csr_count < 256);

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
  if (row.control == CsrControl::fp)
    return fp_enabled(h) ? Verdict::allowed : Verdict::illegal_instruction;
  if (h.mode.privilege == Privilege::M) return Verdict::allowed;
  switch (row.control) {
    case CsrControl::none:
    case CsrControl::fp: break;
    case CsrControl::counter: return check_counter(h, row.address & 31);
    case CsrControl::timer: return check_timer(h);
    case CsrControl::root: return check_root(h);
    case CsrControl::envcfg: return check_stateen(h, 0, field::mstateen::ENVCFG.mask());
    case CsrControl::stateen: return check_stateen(h, row.index, field::mstateen::SE.mask());
  }
  return Verdict::allowed;
}

}  // namespace

constinit const std::array<CsrRow, csr_count + 1> csr_table = make_table();
constinit const std::array<u8, 4096> csr_numbers = make_numbers();

std::string CsrRow::name() const {
  return std::string(text) + (of_range ? std::to_string(number) : "");
}

void Hart::equip(const ExtSet& have) {
  extensions = have;
  status_fields = rvvm::status_fields(have);
  for (const CsrRow& row : csr_rows()) csrs[&row - csr_table.data()] = row.need.met(have);
}

Verdict judge_csr_access(const Hart& h, const CsrRow& row, bool write) {
  const Verdict v = check_privilege(h, row.address, write);
  // A guest's access that HS-mode itself could not make is illegal, not virtual.
  const Verdict controls = check_controls(h, row);
  if (v == Verdict::virtual_instruction && controls == Verdict::illegal_instruction)
    return controls;
  return v == Verdict::allowed ? controls : v;
}

}  // namespace rvvm
