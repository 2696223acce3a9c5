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
  ~CommitLog() { close(); }
  CommitLog(const CommitLog&) = delete;
  void before(const Cpu& cpu);
  void after(const Cpu& cpu, const std::vector<AccessRecord>& accesses);
  // The last of it is in the file, unless error() says otherwise.
  void close();
  int error() const { return error_; }  // errno of the first write that failed, or 0
  const std::string& path() const { return path_; }

 private:
  void write(const Cpu& cpu, const std::vector<AccessRecord>& accesses);

  std::string path_;
  std::FILE* file_;
  int error_ = 0;
  HartState old_;
};

}  // namespace rvvm
