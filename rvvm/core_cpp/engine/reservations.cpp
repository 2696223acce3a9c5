#include "engine/reservations.hpp"

namespace rvvm {

void Reservations::hold(unsigned hart, u64 address, u8 width) {
  held_[hart] = {true, width, address};
  stores_[address / page_size] = 0;
}

void Reservations::written(unsigned by, u64 address, u64 size) {
  for (unsigned hart = 0; hart < held_.size(); ++hart) {
    Held& h = held_[hart];
    if (hart != by && h.address < address + size && address < h.address + h.width) h.valid = false;
  }
}

void Reservations::release(u64 page) {
  for (Held& h : held_)
    if (h.address / page_size == page) h.valid = false;
  stores_.erase(page);
}

bool Reservations::owns(u64 page, const Cpu& cpu) const {
  const auto found = owners_.find(page);
  return found != owners_.end() && found->second == &cpu;
}

void Reservations::own(u64 page, const Cpu& cpu) {
  if (owners_.size() >= most_pages) owners_.clear();
  owners_[page] = &cpu;
}

}  // namespace rvvm
