// Reading and writing CSRs: the one place that joins the rows (isa/csrs.inc) with their rules
// (csr_rules.hpp).
#pragma once
#include <span>
#include <string>

#include "hart/hart.hpp"
#include "isa/table.hpp"

namespace rvvm {

struct CsrRow {
  std::string name;
  Csr csr;  // the row; of a range, the range's
  u16 address;
  u8 index;  // within a range
  Need need;
  u64 (*read)(const Hart&, unsigned index);
  void (*write)(Hart&, unsigned index, u64 value);
  const CsrRow* guest;  // what V=1 has in its place: its VS twin, or itself
};

std::span<const CsrRow> csr_rows();
// The row at an address when the hart has it, else nullptr.
const CsrRow* find_csr(const Hart& h, u16 address);

inline u64 read_csr(const Hart& h, const CsrRow& row) { return row.read(h, row.index); }
inline void write_csr(Hart& h, const CsrRow& row, u64 value) { row.write(h, row.index, value); }

enum class Verdict : u8 { allowed, illegal_instruction, virtual_instruction };

// May an instruction in the hart's present mode access this CSR? (Privileged spec, "CSR Address
// Mapping Conventions", "Virtual-Instruction Exception", and the control registers each CSR names.)
Verdict check_csr_access(const Hart& h, const CsrRow& row, bool write);

}  // namespace rvvm
