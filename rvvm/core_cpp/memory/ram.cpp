#include "memory/ram.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <numeric>

namespace rvvm {

namespace {

constexpr unsigned most_runs = 64;   // mappings of one RAM: the host allows a process 65,530
constexpr u64 few_pages = 256;       // to copy for each clone
constexpr u64 many_pages = 1 << 12;  // to copy for a moment, whatever the base's size

// Calls f(first, count) for each run of consecutive numbers.
template <class F> void each_run(const std::vector<u32>& numbers, F f) {
  for (std::size_t k = 0; k < numbers.size();) {
    const std::size_t first = k;
    while (++k < numbers.size() && numbers[k] == numbers[k - 1] + 1) {
    }
    f(numbers[first], static_cast<u64>(k - first));
  }
}

std::vector<u32> united(const std::vector<u32>& a, const std::vector<u32>& b) {
  std::vector<u32> both;
  both.reserve(a.size() + b.size());
  std::ranges::set_union(a, b, std::back_inserter(both));
  return both;
}

std::vector<u32> without(const std::vector<u32>& a, const std::vector<u32>& b) {
  std::vector<u32> rest;
  std::ranges::set_difference(a, b, std::back_inserter(rest));
  return rest;
}

void map(u8* at, u64 size, int flags, int file, u64 offset) {
  const void* there =
      mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE | flags, file,
           static_cast<off_t>(offset));
  if (there == MAP_FAILED) throw std::bad_alloc{};
}

// Linux, Documentation/admin-guide/mm/pagemap.rst: a page of our own is present and of no file, or
// swapped. False where the host does not tell.
bool own_pages(const u8* host, u64 count, std::vector<u32>& found) {
  const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  constexpr u64 present = u64{1} << 63, swapped = u64{1} << 62, of_file = u64{1} << 61;
  std::array<u64, 1 << 13> entries;
  const u64 first = reinterpret_cast<u64>(host) / page_size;
  u64 done = 0;
  while (done < count) {
    const u64 wanted = std::min<u64>(entries.size(), count - done);
    const off_t where = static_cast<off_t>((first + done) * sizeof(u64));
    const ssize_t got = pread(file, entries.data(), wanted * sizeof(u64), where);
    if (got <= 0) break;
    for (u64 k = 0; k < static_cast<u64>(got) / sizeof(u64); ++k, ++done)
      if (entries[k] & swapped || (entries[k] & (present | of_file)) == present)
        found.push_back(static_cast<u32>(done));
  }
  close(file);
  return done == count;
}

}  // namespace

// ---- A base

FrozenRam::FrozenRam(u64 size)
    : file_{memfd_create("rvvm-ram", MFD_CLOEXEC)}, size_{size}, chunks_((size - 1) / chunk + 1) {
  if (file_ < 0) throw std::bad_alloc{};
  if (ftruncate(file_, static_cast<off_t>(size)) == 0) return;
  close(file_);
  throw std::bad_alloc{};
}

FrozenRam::~FrozenRam() { close(file_); }

void FrozenRam::put(u64 page, const u8* data, u64 count) {
  const u64 size = count * page_size;
  for (u64 done = 0; done < size;) {
    const off_t where = static_cast<off_t>(page * page_size + done);
    const ssize_t written = pwrite(file_, data + done, size - done, where);
    if (written <= 0) throw std::bad_alloc{};
    done += static_cast<u64>(written);
  }
  pages_ += count;
  for (u64 k = page * page_size / chunk; k <= (page * page_size + size - 1) / chunk; ++k)
    chunks_[k] = true;
}

void FrozenRam::map(u8* host) const {
  std::vector<u64> edges{0};
  for (u64 k = 1; k < chunks_.size(); ++k)
    if (chunks_[k] != chunks_[k - 1]) edges.push_back(k);
  edges.push_back(chunks_.size());
  if (edges.size() > most_runs) return map_run(host, 0, chunks_.size(), true);
  for (std::size_t k = 0; k + 1 < edges.size(); ++k)
    map_run(host, edges[k], edges[k + 1], chunks_[edges[k]]);
}

void FrozenRam::map_run(u8* host, u64 from, u64 to, bool data) const {
  const u64 start = from * chunk, size = std::min(to * chunk, size_) - start;
  rvvm::map(host + start, size, data ? 0 : MAP_ANONYMOUS, data ? file_ : -1, data ? start : 0);
  if (!data) madvise(host + start, size, MADV_HUGEPAGE);
}

// ---- RAM

static_assert(sizeof(std::atomic<u8>) == 1 && sizeof(std::atomic<bool>) == 1);

SparseMemory::SparseMemory(u64 size) : size_{size} {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc{};
  data_ = static_cast<u8*>(memory);
}

SparseMemory::~SparseMemory() { munmap(data_, size_); }

Ram::Ram(u64 base, u64 size)
    : base_{base},
      size_{size},
      memory_{std::make_shared<SparseMemory>(size)},
      host_{memory_->data()},
      flags_{size / page_size},
      reached_{size / part + 3} {
  madvise(host_, size, MADV_HUGEPAGE);  // fewer host page faults; refusal does no harm
}

u8* Ram::reached(Hpa address) {
  const u64 offset = (address.value - base_) & ~(part - 1);
  const u64 here = offset / part + 1;
  if (reached_at(here).exchange(true, std::memory_order_relaxed) || frozen_) return nullptr;
  const bool up = reached_at(here - 1), down = reached_at(here + 1);
  const u64 next = up ? offset + part : offset - part;
  const bool inside = next < size_ && part <= size_ - next;
  return up != down && inside ? host_ + next : nullptr;
}

void Ram::discard(Hpa address, u64 size) {
  const u64 last = (address.value - base_ + size) / page_size;
  for (u64 p = (address.value - base_) / page_size; p < last; ++p) {
    if (frozen_ && frozen_->holds(p)) {
      std::memset(host_ + p * page_size, 0, page_size);
      continue;
    }
    u64 behind = p + 1;
    while (behind < last && !(frozen_ && frozen_->holds(behind))) ++behind;
    madvise(host_ + p * page_size, (behind - p) * page_size, MADV_DONTNEED);
    p = behind - 1;
  }
}

bool Ram::is_zero(u32 number) const {
  const u8* at = page(number);
  return *at == 0 && std::memcmp(at, at + 1, page_size - 1) == 0;
}

std::vector<u32> Ram::changed() const {
  std::vector<u32> pages;
  if (!own_pages(host_, size_ / page_size, pages)) {
    pages.resize(size_ / page_size);
    std::iota(pages.begin(), pages.end(), 0);
  }
  // Memory that was only read is there, too, and shows zeroes.
  std::erase_if(pages, [this](u32 p) { return !(frozen_ && frozen_->holds(p)) && is_zero(p); });
  return pages;
}

std::vector<u32> Ram::held() const {
  if (!frozen_) return changed();
  std::vector<u32> base;
  for (u32 p = 0; p < size_ / page_size; ++p)
    if (frozen_->holds(p)) base.push_back(p);
  return united(base, changed());
}

std::vector<u32> Ram::filled() const {
  std::vector<u32> pages = held();
  std::erase_if(pages, [this](u32 p) { return is_zero(p); });
  return pages;
}

void Ram::rebase() {
  const auto made = std::make_shared<FrozenRam>(size_);
  each_run(filled(), [&](u32 first, u64 count) { made->put(first, page(first), count); });
  frozen_ = made;  // they hold the same: what cannot be mapped is the same, too
  frozen_->map(host_);
}

RamImage Ram::image(bool to_share) {
  std::vector<u32> pages;
  if (frozen_) pages = changed();
  const u64 most = to_share || !frozen_ ? few_pages : std::max(many_pages, frozen_->pages() / 4);
  if (!frozen_ || pages.size() > most) {
    rebase();
    pages.clear();
  }
  const std::shared_ptr<u8[]> bytes{new u8[pages.size() * page_size]};
  u8* to = bytes.get();
  each_run(pages, [&](u32 first, u64 count) {
    std::memcpy(to, page(first), count * page_size);
    to += count * page_size;
  });
  return {frozen_, std::move(pages), bytes};
}

std::optional<std::vector<u32>> Ram::become(const RamImage& image) {
  std::optional<std::vector<u32>> pages;
  if (image.base == frozen_) {
    pages = changed();
    each_run(without(*pages, image.pages), [this](u32 first, u64 count) {
      madvise(page(first), count * page_size, MADV_DONTNEED);
    });
    pages = united(*pages, image.pages);
  } else {
    image.base->map(host_);
    frozen_ = image.base;
  }
  const u8* from = image.bytes.get();
  each_run(image.pages, [&](u32 first, u64 count) {
    std::memcpy(page(first), from, count * page_size);
    from += count * page_size;
  });
  return pages;
}

}  // namespace rvvm
