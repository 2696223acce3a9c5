#include "mmu/mmu.hpp"

#include "hart/trap.hpp"

namespace rvvm {

namespace {

bool aligned(u64 address, unsigned size) { return (address & (size - 1)) == 0; }

}  // namespace

void Mmu::refresh() {
  ++roots_;
  refresh_state();
}

static TlbEntry no_entry;
const DataTable Mmu::nothing{0, &no_entry, &no_entry};

void Mmu::check(u64 address, Access access, Hpa cached, const Translation& walked) {
  const bool flagged = access == Access::store && (bus.ram(cached)->flags(cached) & page_guarded);
  if (walked.ok && walked.physical == cached && !flagged) return;
  const char* why = flagged ? "stores there must be seen" : walked.why;
  listener.translation_differs(
      {address, access, cached, walked.ok ? std::optional(walked.physical) : std::nullopt, why});
}

bool Mmu::check_data(u64 address, Access access, const Translation& walked) {
  const TlbEntry* e = data->data.table().find(address, access != Access::load);
  if (!e) return false;
  check(address, access, bus.physical(reinterpret_cast<u8*>(e->host + address)), walked);
  return true;
}

Context* Mmu::find_context(u32 state) {
  Context* c = &tlb.select(ContextKey::of(hart, state), hart.extensions);
  c->roots = roots_;
  return known_[state] = c;
}

void Mmu::refresh_pmp() {
  pmp.decode(hart);
  tlb.clear();
  ++tlb.stats.pmp;
}

void Mmu::fence(const FenceScope& scope) { tlb.fence(scope); }

Translation Mmu::look_up(u64 address, unsigned size, Access access, const As& as) {
  if (!as.context || checked || as.needs_execute || !GlobalCache::covers(address))
    return walk_for(address, size, access, as);
  if (const Translation t = tlb.find_global(*as.context, address, access);
      t.ok && pmp.allows(t.physical, size, access, as.regime.mode.privilege))
    return t;
  const Translation t = walk_for(address, size, access, as);
  if (t.global && t.ok) tlb.note_global(*as.context, address, access, t);
  return t;
}

Translation Mmu::walk_for(u64 address, unsigned size, Access access, const As& as) {
  Request request{.address = Gva{address},
                  .size = size,
                  .access = access,
                  .needs_execute = as.needs_execute,
                  .stores = this};
  if (as.context && !checked) request.notes = tlb.notes(*as.context);
  if (as.context && !checked && as.regime.mode.virt)
    request.guest_notes = tlb.guest_notes(*as.context);
  ++tlb.stats.walks;
  return translate(as.regime, bus, pmp, request);
}

void Mmu::count_fill(const Context& context) {
  ++(context.key.virt() ? tlb.stats.two_stage_fills : tlb.stats.fills);
}

// Remember a translation that holds for the whole page and leads to plain RAM.
void Mmu::fill(u64 address, Access access, const Translation& t) {
  const u8 allowed = pmp.page_permissions(t.physical, data->regime.mode.privilege);
  Ram* ram = bus.ram(t.physical);
  if (uncached || !allowed || !ram) return;
  std::atomic<u8>& flags = ram->flags(t.physical);
  const bool load = allowed & Pmp::permission(Access::load),
             store = (access == Access::store || t.writable) &&
                     (allowed & Pmp::permission(Access::store)) && !(flags & page_guarded);
  if (store && !(flags & page_writable)) flags |= page_writable;
  if (store) {
    tlb.note_writable(*data, ram->at(Hpa{t.physical.value & ~page_mask}));
    if (u8* next = ram->reached(t.physical)) listener.stores_come(next);
  }
  count_fill(*data);
  const TlbEntry entry{TlbEntry::number(address),
                       reinterpret_cast<u64>(ram->at(t.physical)) - address};
  data->fill_data(address, t.span, load ? entry : TlbEntry{}, store ? entry : TlbEntry{},
                  tlb.stats.evictions);
  show_table();  // it may have grown
}

const TlbEntry* Mmu::make_entry(u64 address, Access access) noexcept {
  if (uncached || checked) return nullptr;
  code_dropped_ = false;
  const Translation t = look_up(address, 1, access, as_data());
  // The walk's own store may have changed what comes next: the block is left behind this one.
  if (!t.ok || code_dropped_) return nullptr;
  fill(address, access, t);
  return table.find(address, access == Access::store);
}

bool Mmu::resolve(u64 address, unsigned size, Access access, const As& as, Hpa& physical) {
  const Translation t = look_up(address, size, access, as);
  const bool ordinary = as.context && !as.needs_execute;
  const bool cached = checked && ordinary && check_data(address, access, t);
  if (!t.ok) {
    trap = t.trap;
    return false;
  }
  physical = t.physical;
  if (ordinary && !cached) fill(address, access, t);
  return true;
}

bool Mmu::access_fault(u64 address, Access access, const As& as) {
  trap = {.cause = rvvm::code(faults_of(access).access_fault),
          .tval = address,
          .gva = as.regime.mode.virt};
  return false;
}

// A misaligned access works in RAM: both pages are translated before a byte moves (Zicclsm).
// part(physical address, offset in the value, bytes) does the work on each side of a page boundary.
template <class Part>
bool Mmu::split(u64 address, unsigned size, Access access, const As& as, Part part) {
  const unsigned to_boundary = page_size - (address & page_mask);
  const unsigned head = std::min(size, to_boundary);
  Hpa first, second;
  if (!resolve(address, head, access, as, first)) return false;
  if (!bus.host(first, head)) return access_fault(address, access, as);
  if (head < size) {
    const u64 next = address + head;
    if (!resolve(next, size - head, access, as, second)) return false;
    if (!bus.host(second, size - head)) return access_fault(next, access, as);
  }
  part(first, 0u, head);
  if (head < size) part(second, head, size - head);
  return true;
}

bool Mmu::load_slow(u64 address, unsigned size) {
  ++tlb.stats.slow_loads;
  return load_for(as_data(), address, size);
}

bool Mmu::store_slow(u64 address, unsigned size, u64 value) {
  ++tlb.stats.slow_stores;
  return store_for(as_data(), address, size, value);
}

bool Mmu::load_as(Mode mode, bool needs_execute, u64 address, unsigned size) {
  const Regime regime =
      Regime::of(ContextKey::of(hart, ContextKey::state(hart, mode)), hart.extensions);
  return load_for({regime, nullptr, needs_execute}, address, size);
}

bool Mmu::store_as(Mode mode, u64 address, unsigned size, u64 value) {
  const Regime regime =
      Regime::of(ContextKey::of(hart, ContextKey::state(hart, mode)), hart.extensions);
  return store_for({regime}, address, size, value);
}

bool Mmu::load_for(const As& as, u64 address, unsigned size) {
  loaded = 0;
  bool ok;
  if (aligned(address, size)) {
    Hpa at;
    ok = resolve(address, size, Access::load, as, at);
    if (ok && too_early(at, size)) return false;
    if (ok && !load_physical(at, size)) return access_fault(address, Access::load, as);
  } else {
    ok = split(address, size, Access::load, as, [&](Hpa at, unsigned offset, unsigned bytes) {
      loaded |= shared::load_bytes(bus.host(at, bytes), bytes) << (8 * offset);
    });
  }
  if (ok && record) record->push_back({address, loaded, static_cast<u8>(size), false});
  return ok;
}

bool Mmu::store_for(const As& as, u64 address, unsigned size, u64 value) {
  bool ok;
  if (aligned(address, size)) {
    Hpa at;
    ok = resolve(address, size, Access::store, as, at);
    if (ok && too_early(at, size)) return false;
    if (ok && !store_physical(at, size, value)) return access_fault(address, Access::store, as);
  } else {
    ok = split(address, size, Access::store, as, [&](Hpa at, unsigned offset, unsigned bytes) {
      StoreLock lock{*this, at};
      shared::store_bytes(bus.host(at, bytes), bytes, value >> (8 * offset));
      lock.stored(bytes);
      written(at, bytes, value >> (8 * offset));
    });
  }
  if (ok && record) record->push_back({address, value, static_cast<u8>(size), true});
  return ok;
}

// A device may tell the time, or other harts: it waits until they have come to where this one is.
bool Mmu::too_early(Hpa at, unsigned size) {
  if (!hart.ahead() || bus.host(at, size) || !bus.device(at, size)) return false;
  trap = {.cause = Trap::later};
  return true;
}

bool Mmu::load_physical(Hpa at, unsigned size) {
  if (const u8* host = bus.host(at, size)) {
    loaded = shared::load(host, size);
    return true;
  }
  const DeviceWindow* device = bus.device(at, size);
  if (!device) return false;
  loaded = device->read(at.value - device->base, size);
  if (size < 8) loaded &= (u64{1} << (8 * size)) - 1;
  return true;
}

bool Mmu::store_physical(Hpa at, unsigned size, u64 value) {
  if (size < 8) value &= (u64{1} << (8 * size)) - 1;
  if (u8* host = bus.host(at, size)) {
    StoreLock lock{*this, at};
    shared::store(host, size, value);
    lock.stored(size);
    written(at, size, value);
    return true;
  }
  const DeviceWindow* device = bus.device(at, size);
  if (!device) return false;
  device->write(at.value - device->base, size, value);
  return true;
}

// Whoever asked to be told of stores to this page of RAM, besides those who hold a reservation.
void Mmu::written(Hpa at, unsigned size, u64 value) {
  const u8 flags = bus.ram(at)->flags(at);
  if (flags & page_has_code) {
    listener.code_written(at, size);
    code_dropped_ = true;
  }
  if (flags & page_watched) bus.notify_watches(at, size, value);
}

// It is no store of the hart's: its own reservation breaks, too, so that SC does not write back an
// entry as it was.
bool Mmu::swap_entry(u8* host, Hpa at, u64 old, u64 wanted) {
  StoreLock lock{*this, at};
  if (shared::compare_and_swap(host, old, wanted) != old) return false;
  lock.stored(nullptr, 8);
  written(at, 8, wanted);
  return true;
}

u8* Mmu::atomic_operand(u64 address, unsigned size, Access access) {
  const As as = as_data();
  if (!aligned(address, size)) {
    trap = {.cause = rvvm::code(faults_of(access).misaligned),
            .tval = address,
            .gva = as.regime.mode.virt};
    return nullptr;
  }
  if (const TlbEntry* e = table.find(address, access == Access::store)) {
    u8* host = reinterpret_cast<u8*>(e->host + address);
    operand_ = bus.physical(host);
    return host;
  }
  if (!resolve(address, size, access, as, operand_)) return nullptr;
  u8* host = bus.host(operand_, size);
  if (!host) access_fault(address, access, as);  // devices have no atomicity: a PMA
  return host;
}

// An observer sees two stores of a doubleword.
void Mmu::pair_written(u64 address, u128 value) {
  atomic_written(address, 8, static_cast<u64>(value));
  operand_ = operand_ + 8;
  atomic_written(address + 8, 8, static_cast<u64>(value >> 64));
}

// CMO spec, "Cache-block management": allowed where a load is, since no page may be written and not
// read; A is checked but not D. A fault is the store's, whose number is two above the load's.
bool Mmu::check_block(u64 address, u64 size) {
  const As as = as_data();
  const u64 block = address & ~(size - 1);
  const Translation t = look_up(block, size, Access::load, as);
  if (t.ok) return bus.host(t.physical, size) || access_fault(address, Access::store, as);
  trap = t.trap;
  trap.cause += 2;
  return block_fault(address, block);
}

// The fault is reported for rs1, anywhere in the block, and so is its guest physical address
// ("Guest-Page Faults"); that of a table entry, which a pseudoinstruction marks, stays.
bool Mmu::block_fault(u64 address, u64 block) {
  const bool of_block = trap.cause == rvvm::code(Exception::store_guest_page_fault) && !trap.tinst;
  if (of_block) trap.tval2 += (address - block) >> 2;
  trap.tval = address;
  return false;
}

bool Mmu::zero_block(u64 address, u64 size) {
  const u64 block = address & ~(size - 1);
  if (try_zero_block(address, size)) return true;
  u8* host = atomic_operand(block, size, Access::store);
  if (!host) return block_fault(address, block);
  StoreLock lock{*this, operand_};
  shared::zero(host, size);
  lock.stored(static_cast<unsigned>(size));
  atomic_written(block, static_cast<unsigned>(size), 0);
  return true;
}

std::optional<Hpa> Mmu::fetch(u64 address) {
  const u64 page = exec->fetch.find(address);
  const bool known = page != TlbEntry::never;
  const Hpa cached{page | (address & page_mask)};
  if (known && !checked) return cached;
  const As as{exec->regime, exec};
  const Translation t = look_up(address, 2, Access::fetch, as);
  if (known) check(address, Access::fetch, cached, t);
  if (!t.ok) {
    trap = t.trap;
    return std::nullopt;
  }
  if (!bus.ram(t.physical)) {
    access_fault(address, Access::fetch, as);
    return std::nullopt;
  }
  if (!uncached && pmp.uniform(t.physical)) {
    count_fill(*exec);
    exec->fill_fetch(address, t);
    if (exec->fetch.global(address)) tlb.note_shared_code(address, t.span);
  }
  return t.physical;
}

}  // namespace rvvm
