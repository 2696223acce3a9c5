// Guest memory as several host threads use it. A naturally aligned access is one access of the
// host's, so that nobody sees a half of it ("Memory Ordering Model": aligned accesses are single
// memory operations); a relaxed atomic says just that, and costs nothing. Others go byte by byte,
// or at once where that is the same: x86-64 does it at any alignment, if not as one access.
#pragma once
#include "isa/types.hpp"

namespace rvvm::shared {

// T is an integer type. Where `at` is aligned to its size, this is one access.
template <class T> __attribute__((no_sanitize("alignment"))) T load(const u8* at) {
  return __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_RELAXED);
}
template <class T> __attribute__((no_sanitize("alignment"))) void store(u8* at, T value) {
  __atomic_store_n(reinterpret_cast<T*>(at), value, __ATOMIC_RELAXED);
}

inline u64 load(const u8* at, unsigned size) {
  switch (size) {
    case 1: return load<u8>(at);
    case 2: return load<u16>(at);
    case 4: return load<u32>(at);
    default: return load<u64>(at);
  }
}
inline void store(u8* at, unsigned size, u64 value) {
  switch (size) {
    case 1: return store(at, static_cast<u8>(value));
    case 2: return store(at, static_cast<u16>(value));
    case 4: return store(at, static_cast<u32>(value));
    default: return store(at, value);
  }
}

// A cache block: aligned, whole doublewords.
inline void zero(u8* at, u64 size) {
  for (u64 done = 0; done < size; done += 8) store(at + done, u64{0});
}

// In little-endian order, at any alignment.
inline u64 load_bytes(const u8* at, unsigned size) {
  u64 value = 0;
  for (unsigned k = 0; k < size; ++k) value |= u64{load<u8>(at + k)} << (8 * k);
  return value;
}
inline void store_bytes(u8* at, unsigned size, u64 value) {
  for (unsigned k = 0; k < size; ++k) store(at + k, static_cast<u8>(value >> (8 * k)));
}

// The old value; `wanted` is there now when that was `expected`. No local has its address taken:
// handlers end in tail calls.
template <class T> T compare_and_swap(u8* at, T expected, T wanted) {
  return __sync_val_compare_and_swap(reinterpret_cast<T*>(at), expected, wanted);
}
#ifdef __x86_64__
[[gnu::target("cx16")]]
#endif
inline u128
compare_and_swap_pair(u8* at, u128 expected, u128 wanted) {
  return __sync_val_compare_and_swap(reinterpret_cast<u128*>(at), expected, wanted);
}

}  // namespace rvvm::shared
