// How CSRs read and write: one small rule each; csrs.inc names the rule of every row.
// A rule is a template on the row, so that rows of one kind share it: Rule<Csr::x>::read / ::write.
#pragma once
#include "hart/counters.hpp"
#include "hart/hart.hpp"
#include "hart/interrupts.hpp"
#include "isa/causes.hpp"

namespace rvvm {

// The stored word of a row.
template <Csr C> u64& slot(HartState& h, unsigned index);
#define CSR(address, name, need, rule) \
  template <> inline u64& slot<Csr::name>(HartState & h, unsigned) { return h.csr.name; }
#define CSR_RANGE(address, name, first, last, stride, need, rule)          \
  template <> inline u64& slot<Csr::name>(HartState & h, unsigned index) { \
    return h.csr.name[index];                                              \
  }
#include "isa/csrs.inc"
#undef CSR
#undef CSR_RANGE
template <Csr C> u64 stored(const HartState& h, unsigned index) {
  return slot<C>(const_cast<HartState&>(h), index);
}

constexpr u64 merge(u64 old, u64 value, u64 mask) { return (old & ~mask) | (value & mask); }
constexpr u64 bit_if(bool condition, u64 mask) { return condition ? mask : 0; }

// ---- What is writable on this hart

inline u64 supervisor_interrupts(const Hart& h) {
  return bit_if(h.has(Ext::S), irq::supervisor) | bit_if(h.has(Ext::Sscofpmf), irq::LCOFI);
}
inline u64 guest_interrupts(const Hart& h) {
  return bit_if(h.has(Ext::H), irq::virtual_supervisor | irq::SGEI);
}
// "Machine Interrupt Delegation": with H, the VS bits and SGEI are read-only one.
inline u64 mideleg(const Hart& h) { return h.csr.mideleg | guest_interrupts(h); }

inline u64 menvcfg(const Hart& h) { return h.csr.menvcfg; }
// "henvcfg": STCE, PBMTE and ADUE are read-only zero while menvcfg's are zero.
inline u64 henvcfg(const Hart& h) {
  using namespace field::menvcfg;
  constexpr u64 gated = STCE.mask() | PBMTE.mask() | ADUE.mask();
  return h.csr.henvcfg & (h.csr.menvcfg | ~gated);
}
inline bool stce(const Hart& h) { return field::menvcfg::STCE.get(h.csr.menvcfg); }
inline bool vstce(const Hart& h) { return field::henvcfg::STCE.get(henvcfg(h)); }

constexpr unsigned geilen = 5;
constexpr unsigned pmp_entries = 16;
enum class Xlen : u64 { rv64 = 2 };

// ---- Rules

// A word that only stores: the bits that a read shows and those that a write changes, on a hart
// that has these extensions. Writing it has no consequence until something reads it, so that
// translated code may do without the rule (hart/plain_csrs.hpp).
struct PlainMasks {
  u64 read = ~u64{0}, write = ~u64{0};
};
template <class Rule, Csr C> struct Storage {
  static u64 read(const Hart& h, unsigned i) {
    return stored<C>(h, i) & Rule::masks(h.extensions).read;
  }
  static void write(Hart& h, unsigned i, u64 value) {
    u64& word = slot<C>(h, i);
    word = merge(word, value, Rule::masks(h.extensions).write);
  }
};

template <class Rule>
concept OnlyStores = requires(const ExtSet& have) {
  Rule::masks(have);
};

// Keeps what its fields allow.
template <Csr C> struct Plain : Storage<Plain<C>, C> {
  static constexpr PlainMasks masks(const ExtSet&) {
    return {.write = csr_read_only(static_cast<u16>(C)) ? 0 : csr_write_mask(C)};
  }
};
// The same, for what decides about interrupts.
template <Csr C> struct InterruptControl {
  static u64 read(const Hart& h, unsigned i) { return Plain<C>::read(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    Plain<C>::write(h, i, value);
    h.stale |= stale_interrupts;
  }
};

constexpr u64 fcsr_flags = 0x1f, fcsr_frm_shift = 5;
inline void set_fcsr(Hart& h, u64 value) {
  h.csr.fcsr = value & 0xff;
  mark_fp_dirty(h);
  h.stale |= stale_fp;
}
template <Csr> struct Fcsr {
  static u64 read(const Hart& h, unsigned) { return h.csr.fcsr; }
  static void write(Hart& h, unsigned, u64 value) { set_fcsr(h, value); }
};
template <Csr> struct Fflags {
  static u64 read(const Hart& h, unsigned) { return h.csr.fcsr & fcsr_flags; }
  static void write(Hart& h, unsigned, u64 value) {
    set_fcsr(h, merge(h.csr.fcsr, value, fcsr_flags));
  }
};
template <Csr> struct Frm {
  static u64 read(const Hart& h, unsigned) { return h.csr.fcsr >> fcsr_frm_shift; }
  static void write(Hart& h, unsigned, u64 value) {
    set_fcsr(h, merge(h.csr.fcsr, value << fcsr_frm_shift, 7 << fcsr_frm_shift));
  }
};

// mstatus and its relatives. SD summarises FS; XLEN fields say 64 ("Extension Context Status",
// "Base ISA Control").
constexpr u64 status_fixed(u64 status, u64 xlen_fields) {
  const bool dirty = field::mstatus::FS.get(status) == 3;
  return status | xlen_fields | bit_if(dirty, field::mstatus::SD.mask());
}
constexpr u64 xl64(const CsrField& f) { return f.with(0, static_cast<u64>(Xlen::rv64)); }
constexpr u64 sstatus_view = csr_write_mask(Csr::sstatus);

// Fields about a mode or state that the hart lacks are read-only zero ("Machine Status Registers").
struct StatusNeed {
  Ext need;
  u64 fields;
};
constexpr StatusNeed status_needs[] = {
    {Ext::F, field::mstatus::FS.mask()},
    {Ext::U, field::mstatus::MPRV.mask() | field::mstatus::TW.mask()},
    {Ext::S, csr_write_mask(Csr::sstatus) & ~field::mstatus::FS.mask()},
    {Ext::S, field::mstatus::TSR.mask()},
    // "read-only 0 if satp.MODE is read-only 0"
    {Ext::Sv39, field::mstatus::MXR.mask() | field::mstatus::SUM.mask()},
    {Ext::Sv39, field::mstatus::TVM.mask()},
    {Ext::H, field::mstatus::MPV.mask() | field::mstatus::GVA.mask()},
};
constexpr u64 status_fields(const ExtSet& have) {
  u64 fields = ~u64{0};
  for (const StatusNeed& row : status_needs)
    if (!have.has(row.need)) fields &= ~row.fields;
  return fields;
}

// What follows from the fields of a status register that a write has changed: only what is set can
// let an interrupt through.
inline void note_status_change(Hart& h, u64 old, u64 now) {
  using namespace field::mstatus;
  constexpr u64 enables = MIE.mask() | SIE.mask();
  constexpr u64 translation = SUM.mask() | MXR.mask() | MPRV.mask() | MPP.mask() | MPV.mask();
  const u64 changed = old ^ now;
  if (changed & now & enables) h.stale |= stale_interrupts;
  if (changed & translation) h.stale |= stale_mode;
  if (changed & FS.mask()) h.stale |= stale_fp;
}
inline void write_status(Hart& h, u64& status, u64 value, u64 mask) {
  const u64 old = status;
  status = merge(old, value, mask);
  note_status_change(h, old, status);
}

template <Csr> struct Mstatus {
  static u64 read(const Hart& h, unsigned) {
    const bool s = h.has(Ext::S);
    return status_fixed(h.csr.mstatus, bit_if(s, xl64(field::mstatus::SXL)) |
                                           bit_if(h.has(Ext::U), xl64(field::mstatus::UXL)));
  }
  static void write(Hart& h, unsigned, u64 value) {
    using namespace field::mstatus;
    u64 mask = h.status_fields & csr_write_mask(Csr::mstatus);
    const u64 mpp = MPP.get(value);
    const bool legal = mpp == 3 || (mpp == 0 && h.has(Ext::U)) || (mpp == 1 && h.has(Ext::S));
    if (!legal) mask &= ~MPP.mask();
    write_status(h, h.csr.mstatus, value, mask);
  }
};
template <Csr> struct Sstatus {
  static u64 read(const Hart& h, unsigned) {
    return status_fixed(h.csr.mstatus & sstatus_view, xl64(field::sstatus::UXL));
  }
  static void write(Hart& h, unsigned, u64 value) {
    write_status(h, h.csr.mstatus, value, h.status_fields & sstatus_view);
  }
};
template <Csr> struct Vsstatus {
  static u64 read(const Hart& h, unsigned) {
    return status_fixed(h.csr.vsstatus, xl64(field::vsstatus::UXL));
  }
  static void write(Hart& h, unsigned, u64 value) {
    write_status(h, h.csr.vsstatus, value, h.status_fields & sstatus_view);
  }
};
template <Csr> struct Hstatus {
  static u64 read(const Hart& h, unsigned) { return h.csr.hstatus | xl64(field::hstatus::VSXL); }
  static void write(Hart& h, unsigned, u64 value) {
    u64 mask = csr_write_mask(Csr::hstatus);
    if (field::hstatus::VGEIN.get(value) > geilen) mask &= ~field::hstatus::VGEIN.mask();
    h.csr.hstatus = merge(h.csr.hstatus, value, mask);
    h.stale |= stale_interrupts;  // VGEIN
  }
};

template <Csr> struct Misa {  // read-only: no extension can be switched off, which WARL allows
  static u64 read(const Hart& h, unsigned) {
    u64 value = field::misa::MXL.with(0, static_cast<u64>(Xlen::rv64));
    constexpr std::pair<Ext, char> letters[] = {
        {Ext::I, 'I'}, {Ext::M, 'M'}, {Ext::A, 'A'}, {Ext::F, 'F'}, {Ext::D, 'D'},
        {Ext::C, 'C'}, {Ext::B, 'B'}, {Ext::H, 'H'}, {Ext::S, 'S'}, {Ext::U, 'U'}};
    for (auto [extension, letter] : letters)
      if (h.has(extension)) value |= u64{1} << (letter - 'A');
    return value;
  }
  static void write(Hart&, unsigned, u64) {}
};

// Interrupt registers are views of mip and mie ("Machine Interrupt Registers", "hvip, hip, and
// hie").
template <Csr> struct Mip {
  static constexpr bool shows_wires = true;
  static u64 read(const Hart& h, unsigned) { return pending_interrupts(h); }
  static void write(Hart& h, unsigned, u64 value) {
    u64 mask = supervisor_interrupts(h);
    if (stce(h)) mask &= ~irq::STI;
    h.csr.mip = merge(h.csr.mip, value, mask);
    if (h.has(Ext::H)) h.csr.hvip = merge(h.csr.hvip, value, irq::VSSI);
    h.stale |= stale_interrupts;
  }
};
template <Csr> struct Sip {
  static constexpr bool shows_wires = true;
  static u64 visible(const Hart& h) { return mideleg(h) & supervisor_interrupts(h); }
  static u64 read(const Hart& h, unsigned) { return pending_interrupts(h) & visible(h); }
  static void write(Hart& h, unsigned, u64 value) {
    h.csr.mip = merge(h.csr.mip, value, visible(h) & (irq::SSI | irq::LCOFI));
    h.stale |= stale_interrupts;
  }
};
template <Csr> struct Hip {
  static constexpr bool shows_wires = true;
  static u64 read(const Hart& h, unsigned) { return pending_interrupts(h) & guest_interrupts(h); }
  static void write(Hart& h, unsigned, u64 value) {
    h.csr.hvip = merge(h.csr.hvip, value, irq::VSSI);
    h.stale |= stale_interrupts;
  }
};
template <Csr> struct Vsip {  // the delegated VS bits, one place lower
  static constexpr bool shows_wires = true;
  static u64 visible(const Hart& h) { return h.csr.hideleg & irq::virtual_supervisor; }
  static u64 read(const Hart& h, unsigned) { return (pending_interrupts(h) & visible(h)) >> 1; }
  static void write(Hart& h, unsigned, u64 value) {
    h.csr.hvip = merge(h.csr.hvip, value << 1, visible(h) & irq::VSSI);
    h.stale |= stale_interrupts;
  }
};
inline void set_mie(Hart& h, u64 value, u64 mask) {
  const u64 old = h.csr.mie;
  h.csr.mie = merge(old, value, mask);
  h.stale |= stale_interrupts;
  // The next deadline is that of the enabled timers.
  if ((old ^ h.csr.mie) & (irq::MTI | irq::STI | irq::VSTI)) h.stale |= stale_timers;
}
template <Csr> struct Mie {
  static u64 read(const Hart& h, unsigned) { return h.csr.mie; }
  static void write(Hart& h, unsigned, u64 value) {
    set_mie(h, value, irq::machine | supervisor_interrupts(h) | guest_interrupts(h));
  }
};
template <Csr C> struct Sie {
  static u64 read(const Hart& h, unsigned) { return h.csr.mie & Sip<C>::visible(h); }
  static void write(Hart& h, unsigned, u64 value) { set_mie(h, value, Sip<C>::visible(h)); }
};
template <Csr> struct Hie {
  static u64 read(const Hart& h, unsigned) { return h.csr.mie & guest_interrupts(h); }
  static void write(Hart& h, unsigned, u64 value) { set_mie(h, value, guest_interrupts(h)); }
};
template <Csr C> struct Vsie {
  static u64 read(const Hart& h, unsigned) { return (h.csr.mie & Vsip<C>::visible(h)) >> 1; }
  static void write(Hart& h, unsigned, u64 value) { set_mie(h, value << 1, Vsip<C>::visible(h)); }
};
template <Csr> struct Hgeip {
  static constexpr bool shows_wires = true;
  static u64 read(const Hart& h, unsigned) { return h.wires.guest_external; }
  static void write(Hart&, unsigned, u64) {}
};
template <Csr> struct Mideleg {
  static u64 read(const Hart& h, unsigned) { return mideleg(h); }
  static void write(Hart& h, unsigned, u64 value) {
    h.csr.mideleg = merge(h.csr.mideleg, value, supervisor_interrupts(h));
    h.stale |= stale_interrupts;
  }
};
// "For exceptions that cannot occur in less privileged modes, the corresponding medeleg bits should
// be read-only zero": a row for each that some harts never raise.
struct DelegationNeed {
  u64 exceptions;
  bool (*occurs)(const ExtSet&);
};
constexpr bool never(const ExtSet&) { return false; }
template <Ext... all> constexpr bool with(const ExtSet& have) { return (have.has(all) && ...); }
constexpr DelegationNeed delegation_needs[] = {
    // Jump targets are aligned where IALIGN is 16.
    {field::medeleg::instruction_misaligned.mask(),
     [](const ExtSet& h) { return !h.has(Ext::Zca); }},
    // Other loads and stores may be misaligned (Zicclsm).
    {field::medeleg::load_misaligned.mask(), with<Ext::Zalrsc>},
    {field::medeleg::store_misaligned.mask(),
     [](const ExtSet& h) { return h.has(Ext::Zalrsc) || h.has(Ext::Zaamo); }},
    {field::medeleg::instruction_page_fault.mask() | field::medeleg::load_page_fault.mask() |
         field::medeleg::store_page_fault.mask(),
     with<Ext::Sv39>},
    {field::medeleg::software_check.mask() | field::medeleg::hardware_error.mask(), never},
    {field::medeleg::ecall_from_vs.mask() | field::medeleg::virtual_instruction.mask(),
     with<Ext::H>},
    {field::medeleg::instruction_guest_page_fault.mask() |
         field::medeleg::load_guest_page_fault.mask() |
         field::medeleg::store_guest_page_fault.mask(),
     with<Ext::H, Ext::Sv39>},
};
template <Csr C> struct Medeleg : Storage<Medeleg<C>, C> {
  static constexpr PlainMasks masks(const ExtSet& have) {
    u64 write = csr_write_mask(C);
    for (const DelegationNeed& row : delegation_needs)
      if (!row.occurs(have)) write &= ~row.exceptions;
    return {.write = write};
  }
};

// MODE 2 and 3 are reserved: their high bit reads as zero.
template <Csr C> struct TrapVector : Storage<TrapVector<C>, C> {
  static constexpr PlainMasks masks(const ExtSet&) { return {.write = ~u64{2}}; }
};
constexpr u64 pc_mask(const ExtSet& have) {  // IALIGN
  return have.has(Ext::Zca) ? ~u64{1} : ~u64{3};
}
template <Csr C> struct Epc : Storage<Epc<C>, C> {
  static constexpr PlainMasks masks(const ExtSet& have) {
    return {.read = pc_mask(have), .write = ~u64{1}};
  }
};

// Translation roots. MODE is Bare or a supported SvNN ("Supervisor Address Translation and
// Protection").
inline bool paging_mode(const Hart& h, u64 mode) {
  constexpr std::pair<u64, Ext> modes[] = {{8, Ext::Sv39}, {9, Ext::Sv48}, {10, Ext::Sv57}};
  if (mode == 0) return true;
  for (auto [number, extension] : modes)
    if (mode == number) return h.has(extension);
  return false;
}
template <Csr C> struct Satp {  // satp and vsatp: a write with an unsupported MODE has no effect
  static u64 read(const Hart& h, unsigned i) { return stored<C>(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    if (!paging_mode(h, field::satp::MODE.get(value))) return;
    slot<C>(h, i) = value;
    h.stale |= stale_translation;
  }
};
template <Csr>
struct Hgatp {  // fields are WARL each; the root table is 16 KiB aligned, so PPN[1:0] read as zero
  static u64 read(const Hart& h, unsigned) { return h.csr.hgatp; }
  static void write(Hart& h, unsigned, u64 value) {
    u64 mask = csr_write_mask(Csr::hgatp) & ~u64{3};
    if (!paging_mode(h, field::hgatp::MODE.get(value))) mask &= ~field::hgatp::MODE.mask();
    h.csr.hgatp = merge(h.csr.hgatp, value, mask);
    h.stale |= stale_translation;
  }
};

template <Csr C> struct Envcfg {
  static u64 read(const Hart& h, unsigned i) {
    return C == Csr::henvcfg ? henvcfg(h) : stored<C>(h, i);
  }
  static void write(Hart& h, unsigned i, u64 value) {
    using namespace field::menvcfg;
    u64 mask = FIOM.mask();
    mask |= bit_if(h.has(Ext::Zicboz), CBZE.mask());
    mask |= bit_if(h.has(Ext::Zicbom), CBCFE.mask());
    mask |= bit_if(h.has(Ext::Zicbom) && CBIE.get(value) != 2, CBIE.mask());  // 2 is reserved
    mask |= bit_if(h.has(Ext::Sstc), STCE.mask()) | bit_if(h.has(Ext::Svpbmt), PBMTE.mask());
    mask |= bit_if(h.has(Ext::Svadu), ADUE.mask());
    mask &= csr_write_mask(C);
    if (C == Csr::henvcfg) mask &= h.csr.menvcfg | ~(STCE.mask() | PBMTE.mask() | ADUE.mask());
    u64& word = slot<C>(h, i);
    word = merge(word, value, mask);
    h.stale |= stale_interrupts | stale_timers | stale_translation;
  }
};

// Smstateen: of the state it can guard we have the envcfgs and the next level's registers (bit 63).
// A bit that is zero in mstateen is read-only zero in hstateen; no sstateen bit guards anything
// here.
template <Csr C> struct Stateen {
  static u64 writable(const Hart& h, unsigned i) {
    u64 mask = field::mstateen::SE.mask() | bit_if(i == 0, field::mstateen::ENVCFG.mask());
    if (C == Csr::sstateen) return 0;
    if (C == Csr::hstateen && h.has(Ext::Smstateen)) mask &= h.csr.mstateen[i];
    return mask;
  }
  static u64 read(const Hart& h, unsigned i) { return stored<C>(h, i) & writable(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    u64& word = slot<C>(h, i);
    word = merge(word, value, writable(h, i));
  }
};

template <Csr C> struct TimeCompare {
  static u64 read(const Hart& h, unsigned i) { return stored<C>(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    slot<C>(h, i) = value;
    h.stale |= stale_timers;
  }
};
template <Csr C> struct Htimedelta : TimeCompare<C> {};
template <Csr> struct Time {
  static u64 read(const Hart& h, unsigned) {
    return h.time() + (h.mode.virt ? h.csr.htimedelta : 0);
  }
  static void write(Hart&, unsigned, u64) {}
};

// Counters: which one a row is follows from its address.
template <Csr C> constexpr unsigned counter_of(unsigned index) {
  return (static_cast<u16>(C) & 31) + index;
}
// Without Zihpm there are no programmable counters: mhpmcounter and mhpmevent are read-only zero,
// "a legal implementation", and so are the bits that would govern them.
inline bool counts(const Hart& h, unsigned counter) { return counter < 3 || h.has(Ext::Zihpm); }
constexpr u64 hpm_bits(const ExtSet& have) {
  return bit_if(have.has(Ext::Zihpm), field::mcounteren::HPM.mask());
}
template <Csr C> struct Counter {
  static u64 read(const Hart& h, unsigned i) { return counters::read(h, counter_of<C>(i)); }
  static void write(Hart& h, unsigned i, u64 value) {
    if (counts(h, counter_of<C>(i))) counters::write(h, counter_of<C>(i), value);
  }
};
template <Csr C> struct CounterEnable : Storage<CounterEnable<C>, C> {
  static constexpr PlainMasks masks(const ExtSet& have) {
    return {.write = (csr_write_mask(C) & ~field::mcounteren::HPM.mask()) | hpm_bits(have)};
  }
};
template <Csr C> struct CounterShadow {
  static u64 read(const Hart& h, unsigned i) { return counters::read(h, counter_of<C>(i)); }
  static void write(Hart&, unsigned, u64) {}
};
template <Csr C> struct Mcountinhibit {
  static u64 read(const Hart& h, unsigned i) { return stored<C>(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    u64 mask = csr_write_mask(C);
    if (!h.has(Ext::Zihpm)) mask &= ~field::mcountinhibit::HPM.mask();
    counters::freeze(h);
    slot<C>(h, i) = value & mask;
    counters::thaw(h);
  }
};
template <Csr C> struct Mhpmevent {  // an event that does not exist selects none
  static u64 read(const Hart& h, unsigned i) { return stored<C>(h, i); }
  static void write(Hart& h, unsigned i, u64 value) {
    using namespace field::mhpmevent;
    if (!h.has(Ext::Zihpm)) return;
    u64 mask =
        bit_if(EVENT.get(value) <= static_cast<u64>(counters::Event::instructions), EVENT.mask());
    if (h.has(Ext::Sscofpmf)) {
      mask |= OF.mask() | MINH.mask() | SINH.mask() | UINH.mask();
      if (h.has(Ext::H)) mask |= VSINH.mask() | VUINH.mask();
    }
    counters::freeze(h);
    slot<C>(h, i) = value & mask;
    counters::thaw(h);
    h.stale |= stale_interrupts;  // the run loop looks at counters again
  }
};
template <Csr>
struct Scountovf {  // only counters that the levels above have delegated show ("Supervisor Count
                    // Overflow")
  static u64 read(const Hart& h, unsigned) {
    u64 overflowed = 0;
    for (unsigned i = 0; i < h.csr.mhpmevent.size(); ++i)
      overflowed |= field::mhpmevent::OF.get(h.csr.mhpmevent[i]) << (i + 3);
    if (h.mode.privilege != Privilege::M) overflowed &= h.csr.mcounteren;
    if (h.mode.virt) overflowed &= h.csr.hcounteren;
    return overflowed;
  }
  static void write(Hart&, unsigned, u64) {}
};

// Physical memory protection: 16 entries, the other registers read as zero ("Physical Memory
// Protection CSRs").
struct PmpCfg {
  static constexpr u8 R = 1, W = 2, X = 4, A = 3 << 3, L = 1 << 7;
  static constexpr u8 off = 0, tor = 1, na4 = 2, napot = 3;
  static constexpr u8 mode(u8 cfg) { return (cfg & A) >> 3; }
  static u8 of(const HartState& h, unsigned entry) {
    return h.csr.pmpcfg[entry / 8] >> (entry % 8 * 8);
  }
};
template <Csr> struct Pmpcfg {
  static u64 read(const Hart& h, unsigned i) { return h.csr.pmpcfg[i]; }
  static void write(Hart& h, unsigned i, u64 value) {
    for (unsigned byte = 0; byte < 8 && i * 8 + byte < pmp_entries; ++byte) {
      const u64 mask = u64{0xff} << (byte * 8);
      u64 cfg = value >> (byte * 8) & (PmpCfg::R | PmpCfg::W | PmpCfg::X | PmpCfg::A | PmpCfg::L);
      if (PmpCfg::of(h, i * 8 + byte) & PmpCfg::L) continue;
      if (!(cfg & PmpCfg::R)) cfg &= ~u64{PmpCfg::W};  // R=0 W=1 is reserved
      h.csr.pmpcfg[i] = merge(h.csr.pmpcfg[i], cfg << (byte * 8), mask);
    }
    h.stale |= stale_pmp;
  }
};
template <Csr> struct Pmpaddr {
  static bool locked(const HartState& h, unsigned entry) {
    if (PmpCfg::of(h, entry) & PmpCfg::L) return true;
    if (entry + 1 == pmp_entries) return false;
    const u8 next = PmpCfg::of(h, entry + 1);  // a locked TOR entry locks its lower bound too
    return (next & PmpCfg::L) && PmpCfg::mode(next) == PmpCfg::tor;
  }
  static u64 read(const Hart& h, unsigned i) { return h.csr.pmpaddr[i]; }
  static void write(Hart& h, unsigned i, u64 value) {
    if (i >= pmp_entries || locked(h, i)) return;
    h.csr.pmpaddr[i] = value & ((u64{1} << 54) - 1);
    h.stale |= stale_pmp;
  }
};

}  // namespace rvvm
