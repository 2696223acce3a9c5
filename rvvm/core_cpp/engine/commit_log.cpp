#include "engine/commit_log.hpp"

#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>

#include "hart/csr_file.hpp"
#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

bool writes_float(const Row& r) { return row(r.format).text.find('D') != std::string_view::npos; }
bool is_csr_access(const Row& r) { return row(r.format).text.find('c') != std::string_view::npos; }
// AMOs load what they store over; SC does not.
bool loads_and_stores(const Insn& insn) {
  return (insn.bits & 0x7f) == 0x2f && insn.op != Op::sc_w && insn.op != Op::sc_d;
}

unsigned long long wide(u64 value) { return value; }

// What one instruction wrote, in Spike's order: by register number, then x before f before CSR.
class Writes {
 public:
  void x(unsigned n, u64 value) {
    if (n) values_[n << 4] = value;
  }
  void f(unsigned n, u64 value) { values_[n << 4 | 1] = value; }
  void csr(unsigned n, u64 value) { values_[n << 4 | 4] = value; }
  void print(std::FILE* file, const Hart& h) const {
    for (auto [key, value] : values_) {
      const unsigned n = key >> 4;
      if ((key & 15) == 4)
        std::fprintf(file, " c%u_%s 0x%016llx", n, find_csr(h, n)->name().c_str(), wide(value));
      else
        std::fprintf(file, " %c%-2u 0x%016llx", key & 1 ? 'f' : 'x', n, wide(value));
    }
  }

 private:
  std::map<unsigned, u64> values_;
};

void note_csrs(Writes& writes, const Hart& h, const HartState& old, const Insn& insn) {
  const bool access = is_csr_access(row(insn.op));
  const bool replaces = insn.op == Op::csrrw || insn.op == Op::csrrwi;
  if (access && (replaces || insn.rs1)) {
    const u16 address = insn.imm & 0xfff;
    const CsrRow* r = find_csr(h, old.mode.virt ? vs_twin(address) : address);
    if (r) writes.csr(r->address, read_csr(h, *r));
    return;
  }
  if (h.csr.fcsr != old.csr.fcsr)
    writes.csr(static_cast<u16>(Csr::fflags), h.csr.fcsr & fcsr_flags);
  if (h.csr.mstatus != old.csr.mstatus) {
    const CsrRow* r = find_csr(h, static_cast<u16>(Csr::mstatus));
    writes.csr(r->address, read_csr(h, *r));
  }
}

}  // namespace

CommitLog::CommitLog(const std::string& path) : file_{std::fopen(path.c_str(), "w")} {
  if (!file_) throw std::system_error(errno, std::generic_category(), path);
}

CommitLog::~CommitLog() { std::fclose(file_); }

void CommitLog::before(const Cpu& cpu) { old_ = cpu.hart; }

void CommitLog::after(const Cpu& cpu, const std::vector<AccessRecord>& accesses) {
  const Hart& h = cpu.hart;
  if (h.retired == old_.retired) return;  // trapped
  const Insn& insn = cpu.single[0].insn;
  const Row& r = row(insn.op);
  Writes writes;
  if (r.encoding.rd.present()) {
    if (writes_float(r))
      writes.f(insn.rd, h.f[insn.rd]);
    else
      writes.x(insn.rd, h.x[insn.rd]);
  }
  if (insn.op == Op::amocas_q && insn.rd) writes.x(insn.rd + 1, h.x[insn.rd + 1]);
  note_csrs(writes, h, old_, insn);

  std::fprintf(file_, "core%4llu: %u 0x%016llx (0x%0*x)", wide(h.csr.mhartid),
               static_cast<unsigned>(old_.mode.privilege), wide(old_.pc), insn.length * 2,
               insn.bits);
  writes.print(file_, h);
  for (const AccessRecord& a : accesses)
    if (!a.store || loads_and_stores(insn)) std::fprintf(file_, " mem 0x%016llx", wide(a.address));
  for (const AccessRecord& a : accesses) {
    if (!a.store) continue;
    const u64 mask = a.width >= 8 ? ~u64{0} : (u64{1} << (8 * a.width)) - 1;
    std::fprintf(file_, " mem 0x%016llx 0x%0*llx", wide(a.address), a.width * 2,
                 wide(a.value & mask));
  }
  std::fputc('\n', file_);
}

}  // namespace rvvm
