#include "mmu/translate.hpp"

#include <algorithm>

#include "hart/trap.hpp"
#include "memory/shared.hpp"

namespace rvvm {

namespace {

// A translation under way: what all its parts need, and the trap that ends it.
class Walker {
 public:
  Walker(const Regime& regime, const Bus& bus, const Pmp& pmp, const Request& r,
         Translation& result)
      : regime{regime}, bus{bus}, pmp{pmp}, r{r}, result{result} {}

  void run() {
    if (regime.mode.virt) return two_stages();
    Physical tables{*this, "S", r.notes};
    const WalkResult w = walk(regime.first, r.address.value, rights(), tables);
    if (w.outcome != WalkOutcome::ok) return stage_fault(w);
    result.writable = w.writable;
    result.contiguous = w.span;
    return finish(w.address, w);
  }

 private:
  // Tables in physical memory: of the S-stage and of the G-stage.
  struct Physical {
    Walker& walker;
    const char* name;
    const TableNotes& notes;
    bool read(u64 at, unsigned level, u64& pte) {
      return walker.read_entry(name, at, at, level, pte);
    }
    bool update(u64 at, u64 old, u64 pte, bool& matched) {
      return walker.update_entry(at, old, pte, matched);
    }
  };

  // Tables in guest physical memory: reached through the G-stage ("Two-Stage Address Translation").
  struct ThroughGuest {
    Walker& walker;
    const TableNotes& notes;
    bool read(u64 at, unsigned level, u64& pte) {
      u64 physical;
      return walker.g_stage(Gpa{at}, Access::load, pte_read, physical) &&
             walker.read_entry("VS", at, physical, level, pte);
    }
    bool update(u64 at, u64 old, u64 pte, bool& matched) {
      u64 physical;
      return walker.g_stage(Gpa{at}, Access::store, pte_write, physical) &&
             walker.update_entry(physical, old, pte, matched);
    }
  };

  // "Transformed Instruction or Pseudoinstruction for mtinst or htinst", RV64 rows.
  static constexpr u64 pte_read = 0x3000, pte_write = 0x3020, explicit_access = 0;

  void two_stages() {
    ThroughGuest tables{*this, r.notes};
    const WalkResult w = walk(regime.first, r.address.value, rights(), tables);
    if (w.outcome != WalkOutcome::ok) return stage_fault(w);
    u64 physical;
    result.guest_physical = Gpa{w.address};
    if (!g_stage(Gpa{w.address}, r.access, explicit_access, physical)) return;
    result.writable &= w.writable;
    result.contiguous = std::min(result.contiguous, w.span);
    return finish(physical, w);
  }

  // G-stage permissions are checked as for U-mode; MXR is for explicit accesses ("Two-Stage Address
  // Translation"), HLVX too.
  bool g_stage(Gpa at, Access access, u64 pseudoinstruction, u64& physical) {
    Physical tables{*this, "G", r.guest_notes};
    const bool implicit = pseudoinstruction != explicit_access;
    const Rights as_user{.access = access,
                         .user = true,
                         .sum = false,
                         .mxr = !implicit && regime.guest_mxr,
                         .needs_execute = !implicit && r.needs_execute};
    const WalkResult w = walk(regime.guest, at.value, as_user, tables);
    physical = w.address;
    result.writable = w.writable;
    result.contiguous = w.span;
    if (w.outcome == WalkOutcome::ok) return true;
    if (w.outcome == WalkOutcome::page_fault) {
      fail(faults_of(r.access).guest_page_fault, w.why);
      result.trap.tval2 = at.value >> 2;
      result.trap.tinst = pseudoinstruction;
    }
    return false;
  }

  Rights rights() const {
    return {.access = r.access,
            .user = regime.mode.privilege == Privilege::U,
            .sum = regime.sum,
            .mxr = regime.mxr,
            .needs_execute = r.needs_execute};
  }

  // Table accesses are S-mode accesses to memory; one that PMP or the bus refuses is an access
  // fault.
  bool read_entry(const char* stage, u64 at, u64 physical, unsigned level, u64& pte) {
    const u8* host = reach(physical, Access::load);
    if (!host) return false;
    pte = shared::load<u64>(host);
    if (r.trace) r.trace->push_back({stage, static_cast<u8>(level), at, physical, pte});
    return true;
  }
  bool update_entry(u64 physical, u64 old, u64 pte, bool& matched) {
    u8* host = reach(physical, Access::store);
    if (!host) return false;
    if (r.stores) matched = r.stores->swap_entry(host, Hpa{physical}, old, pte);
    return true;
  }
  u8* reach(u64 physical, Access access) {
    u8* host =
        pmp.allows(Hpa{physical}, 8, access, Privilege::S) ? bus.host(Hpa{physical}, 8) : nullptr;
    if (!host) fail(faults_of(r.access).access_fault, "page table is not accessible memory");
    return host;
  }

  void stage_fault(const WalkResult& w) {
    if (w.outcome == WalkOutcome::page_fault) fail(faults_of(r.access).page_fault, w.why);
  }

  void finish(u64 physical, const WalkResult& first) {
    result.physical = Hpa{physical};
    result.span = first.span;
    result.global = first.global;
    const Privilege privilege = regime.mode.privilege;
    // HLVX: "the supervisor physical memory attributes must grant both execute and read".
    result.ok = pmp.allows(result.physical, r.size, r.access, privilege) &&
                (!r.needs_execute || pmp.allows(result.physical, r.size, Access::fetch, privilege));
    if (!result.ok) fail(faults_of(r.access).access_fault, "PMP");
  }

  void fail(Exception cause, const char* why) {
    result.ok = false;
    result.why = why;
    result.trap = {.cause = code(cause), .tval = r.address.value, .gva = regime.mode.virt};
  }

  const Regime& regime;
  const Bus& bus;
  const Pmp& pmp;
  const Request& r;
  Translation& result;
};

}  // namespace

Translation translate(const Regime& regime, const Bus& bus, const Pmp& pmp,
                      const Request& request) {
  Translation result;
  Walker{regime, bus, pmp, request, result}.run();
  return result;
}

}  // namespace rvvm
