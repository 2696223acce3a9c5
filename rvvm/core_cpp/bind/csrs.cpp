// The CSR table as Python sees it.
#include <pybind11/pybind11.h>

#include "hart/csr_file.hpp"

namespace py = pybind11;

namespace rvvm {
namespace {

const char* kind_name(FieldKind kind) {
  switch (kind) {
    case FieldKind::rw: return "rw";
    case FieldKind::ro: return "ro";
    case FieldKind::warl: break;
  }
  return "warl";
}

py::list fields_of(Csr csr) {
  py::list fields;
  for (const CsrField& f : csr_fields) {
    if (f.csr != csr) continue;
    fields.append(py::dict(py::arg("name") = f.name, py::arg("high") = f.high,
                           py::arg("low") = f.low, py::arg("kind") = kind_name(f.kind)));
  }
  return fields;
}

std::string need_text(const Need& need) {
  std::string text;
  for (const Extension& e : extensions)
    if (need.set().has(e.ext)) text += (text.empty() ? "" : "+") + std::string(e.name);
  return text;
}

py::list csrs() {
  py::list rows;
  for (const CsrRow& row : csr_rows())
    rows.append(py::dict(py::arg("name") = row.name(), py::arg("address") = row.address,
                         py::arg("extension") = need_text(row.need),
                         py::arg("fields") = fields_of(row.csr)));
  return rows;
}

}  // namespace

void bind_csrs(py::module_& m) {
  m.def("csrs", &csrs, "The CSR table: name, address, extension, fields (name, high, low, kind).");
}

}  // namespace rvvm
