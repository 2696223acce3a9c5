#include "mmu/mmu.hpp"

#include <algorithm>

#include "hart/trap.hpp"

namespace rvvm {

namespace {

bool aligned(u64 address, unsigned size) { return (address & (size - 1)) == 0; }

}  // namespace

void Mmu::refresh() {
  known_.fill(nullptr);
  refresh_state();
}

Context* Mmu::find_context(u32 state) {
  Context* c = &tlb.select(ContextKey::of(hart, state));
  std::ranges::replace(known_, c, nullptr);  // it may have been another's
  return known_[state] = c;
}

void Mmu::refresh_pmp() {
  pmp.decode(hart);
  tlb.clear();
  ++tlb.stats.pmp;
}

void Mmu::fence(const FenceScope& scope) { tlb.fence(scope); }

Translation Mmu::look_up(u64 address, unsigned size, Access access, Mode mode, bool needs_execute) {
  // HLV and HSV look from another mode, whose context is not at hand.
  Context* context = mode == hart.mode ? exec : mode == data_mode(hart) ? data : nullptr;
  const Request request{.address = Gva{address},
                        .size = size,
                        .access = access,
                        .mode = mode,
                        .needs_execute = needs_execute,
                        .tables = context ? &context->tables : nullptr,
                        .guest_tables = context ? &context->guest_tables : nullptr};
  ++tlb.stats.walks;
  return translate(hart, bus, pmp, request);
}

void Mmu::count_fill(const ContextKey& key) {
  ++(key.virt() ? tlb.stats.two_stage_fills : tlb.stats.fills);
}

// Remember a translation that holds for the whole page and leads to plain RAM.
void Mmu::fill(u64 address, Access access, const Translation& t) {
  if (uncached || !pmp.uniform(t.physical)) return;
  Ram* ram = bus.ram(t.physical);
  if (!ram) return;
  const u64 page = address & ~page_mask;
  TlbEntry e = table.at(address);
  const u64 host = reinterpret_cast<u64>(ram->at(t.physical)) - address;
  if (e.host != host || e.page() != page) e = {.host = host};
  e.span = t.span;
  if (access == Access::load)
    e.read = page;
  else if (!ram->flags(t.physical))
    e.write = page;
  else
    return;
  count_fill(data->key);
  tlb.stats.evictions += data->data.put(address, e);
  data->note_span(address, t.span);
  table = data->data.table();  // it may have grown
}

bool Mmu::make_entry(u64 address, Access access) noexcept {
  if (uncached) return false;
  const Translation t = look_up(address, 1, access, data_mode(hart), false);
  if (!t.ok) return false;
  fill(address, access, t);
  const TlbEntry& e = table.at(address);
  return (access == Access::load ? e.read : e.write) == (address & ~page_mask);
}

bool Mmu::resolve(u64 address, unsigned size, Access access, Mode mode, bool needs_execute,
                  Hpa& physical) {
  const Translation t = look_up(address, size, access, mode, needs_execute);
  if (!t.ok) {
    trap = t.trap;
    return false;
  }
  physical = t.physical;
  const bool ordinary = mode == data_mode(hart) && !needs_execute;
  if (ordinary) fill(address, access, t);
  return true;
}

bool Mmu::access_fault(u64 address, Access access, Mode mode) {
  trap = {.cause = rvvm::code(faults_of(access).access_fault), .tval = address, .gva = mode.virt};
  return false;
}

// A misaligned access works in RAM: both pages are translated before a byte moves (Zicclsm).
// part(physical address, offset in the value, bytes) does the work on each side of a page boundary.
template <class Part>
bool Mmu::split(u64 address, unsigned size, Access access, Mode mode, bool needs_execute,
                Part part) {
  const unsigned to_boundary = page_size - (address & page_mask);
  const unsigned head = std::min(size, to_boundary);
  Hpa first, second;
  if (!resolve(address, head, access, mode, needs_execute, first)) return false;
  if (!bus.host(first, head)) return access_fault(address, access, mode);
  if (head < size) {
    const u64 next = address + head;
    if (!resolve(next, size - head, access, mode, needs_execute, second)) return false;
    if (!bus.host(second, size - head)) return access_fault(next, access, mode);
  }
  part(first, 0u, head);
  if (head < size) part(second, head, size - head);
  return true;
}

bool Mmu::load_slow(u64 address, unsigned size) {
  return load_as(data_mode(hart), false, address, size);
}

bool Mmu::store_slow(u64 address, unsigned size, u64 value) {
  return store_as(data_mode(hart), address, size, value);
}

bool Mmu::load_as(Mode mode, bool needs_execute, u64 address, unsigned size) {
  loaded = 0;
  bool ok;
  if (aligned(address, size)) {
    Hpa at;
    ok = resolve(address, size, Access::load, mode, needs_execute, at);
    if (ok && !load_physical(at, size)) return access_fault(address, Access::load, mode);
  } else {
    ok = split(address, size, Access::load, mode, needs_execute,
               [&](Hpa at, unsigned offset, unsigned bytes) {
                 std::memcpy(reinterpret_cast<u8*>(&loaded) + offset, bus.host(at, bytes), bytes);
               });
  }
  if (ok && record) record->push_back({address, loaded, static_cast<u8>(size), false});
  return ok;
}

bool Mmu::store_as(Mode mode, u64 address, unsigned size, u64 value) {
  bool ok;
  if (aligned(address, size)) {
    Hpa at;
    ok = resolve(address, size, Access::store, mode, false, at);
    if (ok && !store_physical(at, size, value)) return access_fault(address, Access::store, mode);
  } else {
    ok = split(address, size, Access::store, mode, false,
               [&](Hpa at, unsigned offset, unsigned bytes) {
                 std::memcpy(bus.host(at, bytes), reinterpret_cast<u8*>(&value) + offset, bytes);
                 written(at, bytes, value >> (8 * offset));
               });
  }
  if (ok && record) record->push_back({address, value, static_cast<u8>(size), true});
  return ok;
}

bool Mmu::load_physical(Hpa at, unsigned size) {
  if (const u8* host = bus.host(at, size)) {
    std::memcpy(&loaded, host, size);
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
    std::memcpy(host, &value, size);
    written(at, size, value);
    return true;
  }
  const DeviceWindow* device = bus.device(at, size);
  if (!device) return false;
  device->write(at.value - device->base, size, value);
  return true;
}

// Whoever asked to be told of stores to this page of RAM.
void Mmu::written(Hpa at, unsigned size, u64 value) {
  const u8 flags = bus.ram(at)->flags(at);
  if (flags & page_has_code) listener.code_written(at, size);
  if (flags & page_reserved) listener.reserved_written(&hart, at, size);
  if (flags & page_watched) bus.notify_watches(at, size, value);
}

u8* Mmu::atomic_operand(u64 address, unsigned size, Access access) {
  const Mode mode = data_mode(hart);
  if (!aligned(address, size)) {
    trap = {.cause = rvvm::code(faults_of(access).misaligned), .tval = address, .gva = mode.virt};
    return nullptr;
  }
  const TlbEntry& e = table.at(address);
  if ((access == Access::store ? e.write : e.read) == (address & ~page_mask)) {
    u8* host = reinterpret_cast<u8*>(e.host + address);
    operand_ = bus.physical(host);
    return host;
  }
  if (!resolve(address, size, access, mode, false, operand_)) return nullptr;
  u8* host = bus.host(operand_, size);
  if (!host) access_fault(address, access, mode);  // devices have no atomicity: a PMA
  return host;
}

void Mmu::atomic_written(u64 address, unsigned size, u64 value) {
  written(operand_, size, value);
  if (record) record->push_back({address, value, static_cast<u8>(size), true});
}

// CMO spec, "Cache-block management": allowed where a load is, since no page may be written and not
// read; A is checked but not D. A fault is the store's, whose number is two above the load's.
bool Mmu::check_block(u64 address, u64 size) {
  const Mode mode = data_mode(hart);
  const u64 block = address & ~(size - 1);
  const Translation t = look_up(block, size, Access::load, mode, false);
  if (t.ok) return bus.host(t.physical, size) || access_fault(address, Access::store, mode);
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
  u8* host = atomic_operand(block, size, Access::store);
  if (!host) return block_fault(address, block);
  std::memset(host, 0, size);
  atomic_written(block, size, 0);
  return true;
}

std::optional<Hpa> Mmu::fetch(u64 address) {
  const FetchEntry& e = exec->fetch_at(address);
  if (e.page == (address & ~page_mask)) return Hpa{e.physical | (address & page_mask)};
  const Translation t = look_up(address, 2, Access::fetch, hart.mode, false);
  if (!t.ok) {
    trap = t.trap;
    return std::nullopt;
  }
  if (!bus.ram(t.physical)) {
    access_fault(address, Access::fetch, hart.mode);
    return std::nullopt;
  }
  if (!uncached && pmp.uniform(t.physical)) {
    count_fill(exec->key);
    exec->fill_fetch(address, t.physical.value);
    exec->note_span(address, t.span);
  }
  return t.physical;
}

}  // namespace rvvm
