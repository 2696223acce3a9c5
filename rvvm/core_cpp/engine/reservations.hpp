// Reservations of LR that stores of other harts break (Unprivileged ISA, "Load-Reserved/
// Store-Conditional Instructions": "An SC must fail if a store to the reservation set from another
// hart can be observed to occur between the LR and SC").
//
// Harts that take turns: a page with a reservation of a hart whose turn is over is flagged, so that
// stores of the others take the slow path and tell.
//
// Harts on threads: where no memory access lies between LR and SC, as in every constrained loop, a
// compare-and-swap with the value that LR has read is exact. The pair then behaves as if both were
// executed where SC is, and no hart can tell the difference. Which pairs these are follows from the
// code (lr_window.hpp); they cost ordinary loads and stores nothing. For other pairs the page is
// flagged while no hart executes, and a store there holds a lock together with what it breaks. The
// page stays flagged until many stores have come without an LR that needs the flag.
#pragma once
#include <unordered_map>
#include <vector>

#include "memory/bus.hpp"

namespace rvvm {

struct Cpu;

class Reservations {
 public:
  void add_hart() { held_.emplace_back(); }

  // Of harts on threads. With the lock of StoreListener.
  void hold(unsigned hart, u64 address, u8 width);
  bool held(unsigned hart) const { return held_[hart].valid; }
  void written(unsigned by, u64 address, u64 size);
  // All of them; the pages are told to `visit`.
  template <class Visit> void release_all(Visit visit) {
    for (const auto& [page, stores] : stores_) visit(page);
    stores_.clear();
    for (Held& h : held_) h.valid = false;
  }
  static constexpr unsigned nobody = ~0u;
  // Counts a store to a page; true when there have been many since the last hold().
  bool idle(u64 page) { return ++stores_[page] > patience; }
  void release(u64 page);  // what is held there is lost: SC may fail at any time
  bool full() const { return stores_.size() > most_pages; }

  // Of harts that take turns: the one hart that may have TLB entries for stores to a flagged page.
  bool owns(u64 page, const Cpu& cpu) const;
  void own(u64 page, const Cpu& cpu);
  void disown(u64 page) { owners_.erase(page); }

 private:
  static constexpr u32 patience = 1000;
  static constexpr std::size_t most_pages = 1024;  // that something is kept about
  struct Held {
    bool valid = false;
    u8 width = 0;
    u64 address = 0;
  };
  std::vector<Held> held_;               // by hart
  std::unordered_map<u64, u32> stores_;  // by page
  std::unordered_map<u64, const Cpu*> owners_;
};

}  // namespace rvvm
