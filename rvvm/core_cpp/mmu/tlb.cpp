#include "mmu/tlb.hpp"

#include <algorithm>

#include "hart/csr_rules.hpp"

namespace rvvm {

ContextKey ContextKey::of(const Hart& h, u32 state) {
  ContextKey key{.bits = state};
  if (static_cast<Privilege>(state >> 1 & 3) == Privilege::M) return key;
  const auto extensions = [](u64 envcfg) { return static_cast<u32>(envcfg >> 61 & 3); };
  key.bits |= extensions(menvcfg(h)) << 7;
  key.root = key.virt() ? h.csr.vsatp : h.csr.satp;
  if (key.virt()) {
    key.bits |= extensions(henvcfg(h)) << 9;
    key.guest_root = h.csr.hgatp;
  }
  return key;
}

u64 ContextKey::asid() const { return field::satp::ASID.get(root); }
u64 ContextKey::vmid() const { return field::hgatp::VMID.get(guest_root); }

void Context::note_span(u64 address, u64 span) {
  if (span <= page_size) return;
  const u64 first = span == ~u64{0} ? 0 : address & ~(span - 1);
  large_first = std::min(large_first, first);
  large_last = std::max(large_last, first + (span - 1));
}

void Context::fill_fetch(u64 address, u64 physical) {
  const u64 page = address / page_size;
  code_pages_[page / 64 % 64] |= u64{1} << (page % 64);
  fetch_at(address) = {address & ~page_mask, physical & ~page_mask};
}

void Context::clear() {
  data.clear();
  fetch.fill({});
  code_pages_.fill(0);
  tables.clear();
  guest_tables.clear();
  large_first = ~u64{0};
  large_last = 0;
}

// A fence on one address drops the leaf that maps it: all its pages, where the leaf is large.
bool Context::clear_page(u64 address) {
  const u64 page = address & ~page_mask;
  if (page >= large_first && page <= large_last) {
    clear();
    return true;
  }
  data.at(page) = {};
  fetch_at(page) = {};
  tables.forget(page);
  return code_pages_[page / page_size / 64 % 64] >> (page / page_size % 64) & 1;
}

Tlb::Tlb() {
  for (std::size_t k = 0; k < contexts; ++k) contexts_.emplace_back(pool_);
  recent_.fill(&contexts_.front());
  clear();
}

Context& Tlb::select(const ContextKey& key) {
  Context*& recent = recent_[key.hash() % recent_.size()];
  if (recent->key == key && recent->used) {
    use(*recent);
    return *recent;
  }
  Context* oldest = &contexts_.front();
  for (Context& c : contexts_) {
    if (c.key == key && c.used) {
      use(c);
      return *(recent = &c);
    }
    if (c.used < oldest->used) oldest = &c;
  }
  stats.context_reuse += oldest->used != 0;
  oldest->clear();
  oldest->data.shrink();
  oldest->key = key;
  oldest->generation = ++generation_;
  use(*oldest);
  return *(recent = oldest);
}

void Tlb::count(const FenceScope& scope) {
  if (scope.guest_physical)
    ++stats.hfence_gvma;
  else if (scope.hypervisor)
    ++stats.hfence_vvma;
  else
    ++(!scope.any_address ? stats.fence_address
       : !scope.any_asid  ? stats.fence_asid
                          : stats.fence_all);
}

void Tlb::fence(const FenceScope& scope) {
  count(scope);
  for (Context& c : contexts_) {
    if (c.key.virt() != scope.virt) continue;
    if (scope.virt && !scope.any_vmid && c.key.vmid() != scope.vmid) continue;
    if (!scope.any_asid && c.key.asid() != scope.asid) continue;
    bool code = true;
    if (scope.any_address)
      c.clear();
    else
      code = c.clear_page(scope.address);
    if (code) c.generation = ++generation_;
  }
}

void Tlb::clear() {
  for (Context& c : contexts_) {
    c.clear();
    c.generation = ++generation_;
  }
}

void Tlb::renew_generations() {
  for (Context& c : contexts_) c.generation = ++generation_;
}

void Tlb::forget_writable(const u8* host_page) {
  const u64 page = reinterpret_cast<u64>(host_page);
  ++stats.code;
  for (Context& c : contexts_)
    c.data.each([page](TlbEntry& e) {
      if (e.write != TlbEntry::never && e.write + e.host == page) e.write = TlbEntry::never;
    });
}

}  // namespace rvvm
