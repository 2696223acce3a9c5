// One line a retired instruction, in the format of Spike's --log-commits.
#pragma once
#include <cstdio>
#include <string>
#include <vector>

#include "engine/cpu.hpp"

namespace rvvm {

class CommitLog {
 public:
  explicit CommitLog(const std::string& path);  // throws std::system_error
  ~CommitLog();
  void before(const Cpu& cpu);
  void after(const Cpu& cpu, const std::vector<AccessRecord>& accesses);

 private:
  std::FILE* file_;
  HartState old_;
};

}  // namespace rvvm
