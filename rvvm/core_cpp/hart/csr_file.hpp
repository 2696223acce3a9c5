// Reading and writing CSRs: the one place that joins the rows (isa/csrs.inc) with their rules
// (csr_rules.hpp).
#pragma once
#include <span>
#include <string>

#include "hart/hart.hpp"
#include "isa/table.hpp"

namespace rvvm {

// What decides about an access besides the address.
enum class CsrControl : u8 { none, fp, counter, timer, root, envcfg, stateen };

// What a write leads to: nothing, what a status register's fields decide (and an old value undoes),
// or more.
enum class CsrWrite : u8 { stores, status, other };

struct CsrRow {
  u64 (*read)(const Hart&, unsigned index) = nullptr;
  void (*write)(Hart&, unsigned index, u64 value) = nullptr;
  Csr csr{};  // the row; of a range, the range's
  u16 address = 0;
  u8 index = 0;  // within a range
  u8 privilege = 0;
  bool read_only = false;
  CsrControl control = CsrControl::none;
  CsrWrite written = CsrWrite::other;
  bool shows_wires = false;  // its value depends on what the outside drives
  u8 guest = 0;              // what V=1 has in its place: the number of its VS twin, or its own
  std::string_view text{};   // of a range, without the member's number
  bool of_range = false;
  u8 number = 0;
  Need need{};

  std::string name() const;
};

// All CSRs, by number; and the number by address, where 0 stands for none.
extern const std::array<CsrRow, csr_count + 1> csr_table;
extern const std::array<u8, 4096> csr_numbers;

inline std::span<const CsrRow> csr_rows() { return std::span{csr_table}.subspan(1); }

// The row at an address when the hart has it, else nullptr.
inline const CsrRow* find_csr(const Hart& h, u16 address) {
  const u8 number = csr_numbers[address & 4095];
  return h.csrs[number] ? &csr_table[number] : nullptr;
}

inline u64 read_csr(const Hart& h, const CsrRow& row) { return row.read(h, row.index); }
inline void write_csr(Hart& h, const CsrRow& row, u64 value) { row.write(h, row.index, value); }

enum class Verdict : u8 { allowed, illegal_instruction, virtual_instruction };

// May an instruction in the hart's present mode access this CSR? (Privileged spec, "CSR Address
// Mapping Conventions", "Virtual-Instruction Exception", and the control registers each CSR names.)
Verdict judge_csr_access(const Hart& h, const CsrRow& row, bool write);
inline Verdict check_csr_access(const Hart& h, const CsrRow& row, bool write) {
  const bool usual = row.privilege <= h.csr_reach && row.control == CsrControl::none;
  if (usual && !(write && row.read_only)) [[likely]]
    return Verdict::allowed;
  return judge_csr_access(h, row, write);
}

}  // namespace rvvm
