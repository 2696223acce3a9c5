#include "mmu/tlb.hpp"

#include <algorithm>

namespace rvvm {

void Context::note_large(u64 address, u64 span) {
  const u64 first = span == ~u64{0} ? 0 : address & ~(span - 1);
  large_first = std::min(large_first, first);
  large_last = std::max(large_last, first + (span - 1));
  largest = std::max(largest, span);
}

void Context::fill_fetch(u64 address, const Translation& t) {
  const u64 page = address / page_size;
  code_pages_[page / 64 % 64] |= u64{1} << (page % 64);
  const bool shared = t.global && GlobalCache::covers(address);
  fetch.put(address, t.physical.value, shared);
  if (code == Code::unknown) code = shared ? Code::shared : Code::own;
  note_span(address, t.span);
}

void Context::clear() {
  code = Code::unknown;
  data.clear();
  fetch.clear();
  code_pages_.fill(0);
  large_first = ~u64{0};
  large_last = largest = 0;
}

// A fence on one address drops the leaf that maps it: all its pages, where the leaf may be large.
bool Context::clear_page(u64 address) {
  if (address >= large_first && address <= large_last) {
    data.forget_around(address, largest);
    fetch.clear();
    return true;
  }
  data.forget(address);
  const u64 page = address / page_size;
  if (!(code_pages_[page / 64 % 64] >> (page % 64) & 1)) return false;
  fetch.forget(address);
  return true;
}

Tlb::Tlb() {
  for (std::size_t k = 0; k < contexts; ++k)
    contexts_.emplace_back(pool_).index = static_cast<u8>(k);
  recent_.fill(&contexts_.front());
  clear();
}

Context& Tlb::select(const ContextKey& key, const ExtSet& extensions) {
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
  oldest->regime = Regime::of(key, extensions);
  oldest->space = oldest->guest_space = oldest->world = 0;
  oldest->mapping = oldest->generation = ++generation_;
  use(*oldest);
  return *(recent = oldest);
}

// ---- Numbers that contexts share

u32 Tlb::next_space() {
  if (spaces_ + 1 == TableCache::most_spaces) {
    tables_.clear();
    for (Context& c : contexts_) c.space = c.guest_space = 0;
    spaces_ = 0;
  }
  return ++spaces_;
}

// Tables are the same for all modes: what a context with the same roots has.
u32 Tlb::space_of(Context& context) {
  for (const Context& c : contexts_)
    if (c.space && c.key.virt() == context.key.virt() && c.key.root == context.key.root &&
        c.key.guest_root == context.key.guest_root)
      return context.space = c.space;
  return context.space = next_space();
}

u32 Tlb::guest_space_of(Context& context) {
  for (const Context& c : contexts_)
    if (c.guest_space && c.key.guest_root == context.key.guest_root)
      return context.guest_space = c.guest_space;
  return context.guest_space = next_space();
}

// Global mappings "exist in all address spaces": of a virtual machine, and of one MODE.
u32 Tlb::world_of(Context& context) {
  for (const Context& c : contexts_)
    if (c.world && c.key.bits == context.key.bits && c.key.guest_root == context.key.guest_root &&
        c.key.root >> 60 == context.key.root >> 60)
      return context.world = c.world;
  if (worlds_ + 1 == GlobalCache::most_worlds) {
    globals_.clear();
    for (Context& c : contexts_) c.world = 0;
    worlds_ = 0;
  }
  return context.world = ++worlds_;
}

// ---- Fences

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
  const bool of_code =
      scope.any_address || (GlobalCache::covers(scope.address) && shared_code_.hold(scope.address));
  if ((scope.any_asid && of_code) || scope.guest_physical) globals_mapping_ = ++generation_;
  for (Context& c : contexts_) {
    if (!c.used) break;  // they are taken in order
    if (c.key.virt() != scope.virt) continue;
    if (scope.virt && !scope.any_vmid && c.key.vmid() != scope.vmid) continue;
    if (fence(c, scope)) c.mapping = c.generation = ++generation_;
  }
}

// Whether ways to code are void.
bool Tlb::fence(Context& c, const FenceScope& scope) {
  // "Depends on rs2": mappings of the G-stage are in both stages' results, but no VS-stage table
  // is.
  if (scope.guest_physical) {
    c.clear();
    c.guest_space = c.world = 0;
    return true;
  }
  if (!c.key.translated()) return false;
  // Global mappings are ordered by fences for all address spaces only.
  if (scope.any_asid && (scope.any_address || !globals_.forget(c.world, scope.address)))
    c.world = 0;
  if (!scope.any_asid && c.key.asid() != scope.asid) return false;
  if (scope.any_address) {
    c.clear();
    c.space = 0;
    return true;
  }
  if (c.space) tables_.forget(c.space, scope.address);
  return c.clear_page(scope.address);
}

void Tlb::clear() {
  globals_mapping_ = ++generation_;
  shared_code_ = {};
  writers_.fill(0);
  for (Context& c : contexts_) {
    c.clear();
    c.space = c.guest_space = c.world = 0;
    c.mapping = c.generation = ++generation_;
  }
}

void Tlb::renew_generations() {
  for (Context& c : contexts_) c.generation = ++generation_;
}

void Tlb::forget_writable(const u8* host_page) {
  const u64 page = reinterpret_cast<u64>(host_page);
  ++stats.code;
  for (u32 writers = writers_[writers_of(host_page)]; writers; writers &= writers - 1)
    contexts_[std::countr_zero(writers)].data.each([page](TlbEntry&, TlbEntry& store) {
      if (store.page != TlbEntry::never && store.page * page_size + store.host == page) store = {};
    });
}

}  // namespace rvvm
