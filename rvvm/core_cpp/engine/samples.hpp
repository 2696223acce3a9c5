// Counts of values that a guest chooses, in bounded memory. When the table is full a new value
// takes one off every count (Misra and Gries, "Finding Repeated Elements", 1982): what makes up
// more than one of `most` samples is kept, and an addition costs a constant on average.
#pragma once
#include <unordered_map>

#include "isa/types.hpp"

namespace rvvm {

class Samples {
 public:
  static constexpr std::size_t most = 16384;

  void add(u64 value) {
    if (counts_.size() < most || counts_.contains(value)) return void(++counts_[value]);
    for (auto& [other, count] : counts_) --count;
    std::erase_if(counts_, [](const auto& entry) { return entry.second == 0; });
  }
  const std::unordered_map<u64, u64>& counts() const { return counts_; }

 private:
  std::unordered_map<u64, u64> counts_;
};

}  // namespace rvvm
