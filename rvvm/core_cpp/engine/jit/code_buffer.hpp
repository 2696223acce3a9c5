// Memory for generated code, mapped twice: never writable and executable through one address.
#pragma once
#include <cstddef>

#include "isa/types.hpp"

namespace rvvm::jit {

class CodeBuffer {
 public:
  explicit CodeBuffer(std::size_t size);  // throws std::system_error
  ~CodeBuffer();
  CodeBuffer(const CodeBuffer&) = delete;
  CodeBuffer& operator=(const CodeBuffer&) = delete;

  // Every thread of this process fetches anew what has been written here (Intel SDM volume 3,
  // "Handling Self- and Cross-Modifying Code": the others are to execute something serializing).
  void synchronize() const;

  u8* write() const { return write_; }
  const u8* run() const { return run_; }
  const u8* write_end() const { return write_ + size_; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  u8* write_;
  u8* run_;
};

}  // namespace rvvm::jit
