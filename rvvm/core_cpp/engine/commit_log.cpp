#include "engine/commit_log.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <system_error>
#include <utility>

#include "engine/raised_flags.hpp"
#include "hart/csr_file.hpp"
#include "hart/csr_rules.hpp"

namespace rvvm {

namespace {

bool writes_float(const Row& r) { return row(r.format).text.find('D') != std::string_view::npos; }
bool is_csr_access(const Row& r) { return row(r.format).text.find('c') != std::string_view::npos; }

unsigned long long wide(u64 value) { return value; }

// What one instruction wrote, in Spike's order: by register number, then x before f before CSR.
class Writes {
 public:
  explicit Writes(const Hart& h) : hart_{h} {}
  void x(unsigned n, u64 value) {
    if (n) values_[n << 4] = {value, {}};
  }
  void f(unsigned n, u64 value) { values_[n << 4 | 1] = {value, {}}; }
  // As it reads now, if the hart has it.
  void csr(u16 address) {
    if (const CsrRow* r = find_csr(hart_, address)) csr(address, r->name(), read_csr(hart_, *r));
  }
  void csr(Csr csr_) { csr(static_cast<u16>(csr_)); }
  void csr(u16 address, const std::string& name, u64 value) {
    values_[static_cast<unsigned>(address) << 4 | 4] = {value, name};
  }
  void print(std::FILE* file) const {
    const int f_digits = hart_.has(Ext::D) ? 16 : 8;
    for (const auto& [key, value] : values_) {
      const unsigned n = key >> 4;
      switch (key & 15) {
        case 0: std::fprintf(file, " x%-2u 0x%016llx", n, wide(value.word)); break;
        case 1:
          std::fprintf(file, " f%-2u 0x%0*llx", n, f_digits,
                       wide(f_digits == 8 ? value.word & 0xffffffff : value.word));
          break;
        default: std::fprintf(file, " c%u_%s 0x%016llx", n, value.name.c_str(), wide(value.word));
      }
    }
  }

 private:
  struct Value {
    u64 word;
    std::string name;  // of a CSR
  };
  const Hart& hart_;
  std::map<unsigned, Value> values_;
};

// CSRs that are views of others: Spike logs those that keep the bits, and some views too.
struct View {
  Csr csr;
  std::array<Csr, 2> logged;
};
constexpr View views[] = {
    {Csr::fcsr, {Csr::fflags, Csr::frm}}, {Csr::sstatus, {Csr::mstatus, Csr::mstatus}},
    {Csr::sie, {Csr::sie, Csr::mie}},     {Csr::hie, {Csr::mie, Csr::mie}},
    {Csr::vsie, {Csr::mie, Csr::mie}},    {Csr::sip, {Csr::mip, Csr::mip}},
    {Csr::hip, {Csr::mip, Csr::mip}},     {Csr::vsip, {Csr::mip, Csr::mip}},
};

// Smaia's mvip, which Spike has in any case and logs before mip: the software bit of SEIP, and of
// mip what it aliases. A write of mip, and of sip, is one of mvip first.
constexpr u16 mvip_address = 0x309;
void note_mvip(Writes& writes, const Hart& h, const HartState& old) {
  const u64 aliased = irq::SSI | (stce(h) ? 0 : irq::STI);
  writes.csr(mvip_address, "mvip", (h.csr.mip & irq::SEI) | (old.csr.mip & aliased));
}

// Spike logs mip before hvip has its new VSTIP and VSEIP.
void note_hvip(Writes& writes, const Hart& h, const HartState& old) {
  Hart between = h;
  between.csr.hvip = merge(old.csr.hvip, h.csr.hvip, irq::VSSI);
  const CsrRow* mip = find_csr(h, static_cast<u16>(Csr::mip));
  writes.csr(mip->address, mip->name(), read_csr(between, *mip));
  writes.csr(Csr::hvip);
}

// Whether a write has come to nothing: it is not logged. PMP entries are locked or absent by
// register; counters of events and hgeie are constants to Spike.
bool write_is_void(const Hart& h, const HartState& old, const CsrRow& r) {
  switch (r.csr) {
    case Csr::pmpaddr: return r.index < pmp_entries && Pmpaddr<Csr::pmpaddr>::locked(old, r.index);
    case Csr::pmpcfg: return r.index * 8u >= pmp_entries;
    case Csr::hgeie:
    case Csr::mhpmcounter: return read_csr(h, r) == 0;
    default: return false;
  }
}

void note_csr_write(Writes& writes, const Hart& h, const HartState& old, const CsrRow& r) {
  if (write_is_void(h, old, r)) return;
  if (r.csr == Csr::hvip) return note_hvip(writes, h, old);
  if (r.csr == Csr::sip || (r.csr == Csr::mip && h.has(Ext::S))) note_mvip(writes, h, old);
  for (const View& view : views)
    if (view.csr == r.csr) {
      for (const Csr csr : view.logged) writes.csr(csr);
      return;
    }
  writes.csr(r.address);
}

// xRET: the status registers that it unstacks; a return to VU-mode from outside clears vsstatus.SDT
// where there is one, and is logged in any case.
void note_return(Writes& writes, const Hart& h, const HartState& old, Op op) {
  if (old.mode.virt) return writes.csr(Csr::vsstatus);
  writes.csr(Csr::mstatus);
  if (op == Op::sret) writes.csr(Csr::hstatus);
  if (h.mode.virt && h.mode.privilege == Privilege::U) writes.csr(Csr::vsstatus);
}

bool writes_csr_of(const Insn& insn) {
  const bool replaces = insn.op == Op::csrrw || insn.op == Op::csrrwi;
  return is_csr_access(row(insn.op)) && (replaces || insn.rs1);
}

// A first write of floating-point state makes FS dirty, in both registers with V=1.
void note_dirty(Writes& writes, const HartState& old, const Hart& h) {
  if (h.csr.mstatus == old.csr.mstatus && h.csr.vsstatus == old.csr.vsstatus) return;
  writes.csr(Csr::mstatus);
  if (h.mode.virt) writes.csr(Csr::vsstatus);
}

void note_csrs(Writes& writes, const Hart& h, const HartState& old, const Insn& insn) {
  if (insn.op == Op::mret || insn.op == Op::sret) return note_return(writes, h, old, insn.op);
  const bool access = writes_csr_of(insn);
  const u16 address = insn.imm & 0xfff;
  const CsrRow* written =
      access ? find_csr(h, old.mode.virt ? vs_twin(address) : address) : nullptr;
  if (written) note_csr_write(writes, h, old, *written);
  if (raised_flags(old, insn)) writes.csr(Csr::fflags);
  if (!written || written->control == CsrControl::fp) note_dirty(writes, old, h);
}

// A cache block that is zeroed is as many stores of a byte, to Spike.
void print_store(std::FILE* file, const AccessRecord& a) {
  const unsigned width = a.width > 8 ? 1 : a.width;
  const u64 mask = width == 8 ? ~u64{0} : (u64{1} << (8 * width)) - 1;
  for (u64 done = 0; done < a.width; done += width)
    std::fprintf(file, " mem 0x%016llx 0x%0*llx", wide(a.address + done), width * 2,
                 wide(a.value & mask));
}

}  // namespace

CommitLog::CommitLog(const std::string& path)
    : path_{path}, file_{std::fopen(path.c_str(), "w")} {
  if (!file_) throw std::system_error(errno, std::generic_category(), path);
}

void CommitLog::close() {
  if (!file_) return;
  const bool failed = std::fclose(std::exchange(file_, nullptr)) != 0;
  if (failed && !error_) error_ = errno;
}

void CommitLog::before(const Cpu& cpu) { old_ = cpu.hart; }

void CommitLog::after(const Cpu& cpu, const std::vector<AccessRecord>& accesses) {
  if (cpu.hart.retired == old_.retired) return;  // trapped
  write(cpu, accesses);
  if (std::ferror(file_) && !error_) error_ = errno;
}

void CommitLog::write(const Cpu& cpu, const std::vector<AccessRecord>& accesses) {
  const Hart& h = cpu.hart;
  const Insn& insn = cpu.single[0].insn;
  const Row& r = row(insn.op);
  Writes writes{h};
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
  writes.print(file_);
  for (const AccessRecord& a : accesses)
    if (!a.store) std::fprintf(file_, " mem 0x%016llx", wide(a.address));
  for (const AccessRecord& a : accesses)
    if (a.store) print_store(file_, a);
  std::fputc('\n', file_);
}

}  // namespace rvvm
