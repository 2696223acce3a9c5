#include "memory/bus.hpp"

#include <cstdio>
#include <stdexcept>

namespace rvvm {

namespace {

std::string range_text(u64 base, u64 size) {
  char text[64];
  std::snprintf(text, sizeof text, "[0x%llx, 0x%llx)", static_cast<unsigned long long>(base),
                static_cast<unsigned long long>(base + size));
  return text;
}

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

}  // namespace

void Bus::require_free(const std::string& name, u64 base, u64 size) const {
  const std::string what = name + " " + range_text(base, size);
  if (size == 0 || base + size < base)
    throw std::invalid_argument(what + " is empty or wraps around");
  for (const auto& r : rams_)
    if (overlap(base, size, r->base(), r->size()))
      throw std::invalid_argument(what + " overlaps RAM " + range_text(r->base(), r->size()));
  for (const auto& d : devices_)
    if (overlap(base, size, d->base, d->size))
      throw std::invalid_argument(what + " overlaps " + d->name + " " +
                                  range_text(d->base, d->size));
}

void Bus::add_ram(u64 base, u64 size) {
  require_free("RAM", base, size);
  if ((base | size) & page_mask)
    throw std::invalid_argument("RAM " + range_text(base, size) + " is not aligned to 4 KiB pages");
  rams_.push_back(std::make_unique<Ram>(base, size));
  if (!main_ || size > main_->size()) main_ = rams_.back().get();
}

void Bus::add_device(DeviceWindow window) {
  require_free(window.name, window.base, window.size);
  devices_.push_back(std::make_unique<DeviceWindow>(std::move(window)));
}

void Bus::watch_stores(StoreWatch watch) {
  for (u64 a = watch.base & ~page_mask; a < watch.base + watch.size; a += page_size)
    if (Ram* r = ram(Hpa{a})) r->flags(Hpa{a}) |= page_watched;
  watches_.push_back(std::move(watch));
}

Ram* Bus::other_ram(Hpa address, u64 size) const {
  for (const auto& r : rams_)
    if (r->contains(address, size)) return r.get();
  return nullptr;
}

DeviceWindow* Bus::device(Hpa address, u64 size) const {
  for (const auto& d : devices_)
    if (d->contains(address, size)) return d.get();
  return nullptr;
}

Hpa Bus::physical(const u8* host) const {
  for (const auto& r : rams_)
    if (host >= r->host() && host < r->host() + r->size())
      return Hpa{r->base() + (host - r->host())};
  return {};
}

void Bus::notify_watches(Hpa address, unsigned width, u64 value) const {
  for (const StoreWatch& w : watches_)
    if (overlap(address.value, width, w.base, w.size)) w.notify(address.value, width, value);
}

}  // namespace rvvm
