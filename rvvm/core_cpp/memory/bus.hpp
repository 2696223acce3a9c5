// The physical address space: RAM regions and device windows. Overlap is an error at insertion.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "memory/ram.hpp"

namespace rvvm {

// A device as the core sees it: two callables on (offset, width in bytes).
struct DeviceWindow {
  std::string name;
  u64 base, size;
  std::function<u64(u64 offset, unsigned width)> read;
  std::function<void(u64 offset, unsigned width, u64 value)> write;
  bool contains(Hpa address, u64 length) const {
    return address.value >= base && length <= size && address.value - base <= size - length;
  }
};

struct StoreWatch {
  u64 base, size;
  std::function<void(u64 address, unsigned width, u64 value)> notify;
};

class Bus {
 public:
  // Throw std::invalid_argument naming both regions on overlap, and on an empty or unaligned
  // region.
  void add_ram(u64 base, u64 size);
  void add_device(DeviceWindow window);
  void watch_stores(StoreWatch watch);

  Ram* ram(Hpa address, u64 size = 1) const {
    return main_ && main_->contains(address, size) ? main_ : other_ram(address, size);
  }
  DeviceWindow* device(Hpa address, u64 size) const;
  // Host memory behind [address, address + size), or nullptr when it is not all in one RAM.
  u8* host(Hpa address, u64 size) const {
    const Ram* r = ram(address, size);
    return r ? r->at(address) : nullptr;
  }
  Hpa physical(const u8* host) const;  // the inverse, for an address in some RAM
  void notify_watches(Hpa address, unsigned width, u64 value) const;

  const std::vector<std::unique_ptr<Ram>>& rams() const { return rams_; }
  const std::vector<std::unique_ptr<DeviceWindow>>& devices() const { return devices_; }

 private:
  Ram* other_ram(Hpa address, u64 size) const;
  void require_free(const std::string& name, u64 base, u64 size) const;

  std::vector<std::unique_ptr<Ram>> rams_;
  Ram* main_ = nullptr;  // the largest: asked first
  std::vector<std::unique_ptr<DeviceWindow>> devices_;
  std::vector<StoreWatch> watches_;
};

}  // namespace rvvm
