// Guest RAM, and what it held at some moment. Until somebody wants to keep such a moment RAM is
// anonymous memory; from then on it is a private view of a file that never changes, and the host
// keeps the pages that differ.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "memory/address.hpp"

namespace rvvm {

// Why a page of RAM must not be written without asking. Set only while no hart
// executes, so that no translation is made meanwhile that knows nothing of it.
enum PageFlag : u8 {
  page_has_code = 1,  // translated: a store may invalidate blocks
  page_watched = 2,   // somebody wants to hear of stores
  page_reserved = 4,  // a hart whose turn is over holds an LR reservation here
  page_guarded = 7,   // any of these
  page_writable = 8,  // some TLB may have an entry that allows stores
};

// Bytes that never change again, in a file without a name. Any number of machines see the same
// pages of the host's through it.
class FrozenRam {
 public:
  static constexpr u64 chunk = u64{2} << 20;  // of the host's large pages

  explicit FrozenRam(u64 size);  // zeroes; std::bad_alloc when the host has no room
  ~FrozenRam();
  FrozenRam(const FrozenRam&) = delete;

  void put(u64 page, const u8* data, u64 count);  // whole pages, while it is made
  bool holds(u64 page) const { return chunks_[page * page_size / chunk]; }
  u64 size() const { return size_; }
  u64 pages() const { return pages_; }
  // Makes it what is seen at `host`: where it holds nothing there is fresh memory.
  void map(u8* host) const;

 private:
  void map_run(u8* host, u64 from, u64 to, bool data) const;

  int file_;
  u64 size_, pages_ = 0;
  std::vector<bool> chunks_;  // that hold something
};

// What one RAM held: a base, and the pages that differ from it.
struct RamImage {
  std::shared_ptr<const FrozenRam> base;
  std::vector<u32> pages;  // by number, ascending
  std::shared_ptr<const u8[]> bytes;
};

// Zeroes of a size that may be much more than is ever written: the host has memory only for pages
// that are. std::bad_alloc when it has no addresses.
class SparseMemory {
 public:
  explicit SparseMemory(u64 size);
  ~SparseMemory();
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;

  u8* data() const { return data_; }

 private:
  u8* data_;
  u64 size_;
};

class Ram {
 public:
  Ram(u64 base, u64 size);
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;

  u64 base() const { return base_; }
  u64 size() const { return size_; }
  u8* host() const { return host_; }
  // Its bytes, which are there as long as somebody holds them.
  std::shared_ptr<const u8> memory() const { return {memory_, host_}; }
  bool contains(Hpa address, u64 size) const {
    return address.value >= base_ && size <= size_ && address.value - base_ <= size_ - size;
  }
  u8* at(Hpa address) const { return host_ + (address.value - base_); }
  std::atomic<u8>& flags(Hpa address) {
    return reinterpret_cast<std::atomic<u8>&>(flags_.data()[(address.value - base_) / page_size]);
  }

  // A hart may store here now. Where it comes to a part of RAM for the first time, and from the one
  // beside it, this is the part on the other side, where it is likely to come next; else nullptr.
  u8* reached(Hpa address);
  static constexpr u64 part = u64{2} << 20;  // bytes: what the host clears at once

  // Whole pages become zeroes; the host has their memory back, but where a base holds something.
  void discard(Hpa address, u64 size);

  // The next three while nobody else accesses it.
  //
  // What it holds. Pages that differ from the base are copied; when these are many, or more than a
  // few and the image is `to_share`, everything becomes a new base.
  RamImage image(bool to_share);
  // Holds what the image says. The pages that may have changed; nothing: all may.
  std::optional<std::vector<u32>> become(const RamImage& image);
  // The pages that are not zero.
  std::vector<u32> filled() const;

 private:
  std::vector<u32> changed() const;  // pages that may differ from the base, ascending
  std::vector<u32> held() const;     // pages that may not be zero
  void rebase();
  bool is_zero(u32 page) const;
  u8* page(u32 number) const { return host_ + number * page_size; }

  std::atomic<bool>& reached_at(u64 index) const {
    return reinterpret_cast<std::atomic<bool>&>(reached_.data()[index]);
  }

  u64 base_, size_;
  std::shared_ptr<SparseMemory> memory_;
  u8* host_;
  SparseMemory flags_;    // an atomic byte a page
  SparseMemory reached_;  // an atomic bool a part, and one more at both ends
  std::shared_ptr<const FrozenRam> frozen_;
};

}  // namespace rvvm
