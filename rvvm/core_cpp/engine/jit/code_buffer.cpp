#include "engine/jit/code_buffer.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace rvvm::jit {

namespace {

u8* map(int file, std::size_t size, int protection) {
  void* memory = mmap(nullptr, size, protection, MAP_SHARED, file, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<u8*>(memory);
}

}  // namespace

CodeBuffer::CodeBuffer(std::size_t size) : size_{size} {
  const int file = memfd_create("rvvm-code", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(size)) != 0)
    throw std::system_error(errno, std::generic_category(), "memory for translated code");
  write_ = map(file, size, PROT_READ | PROT_WRITE);
  run_ = map(file, size, PROT_READ | PROT_EXEC);
  const int error = errno;
  close(file);
  if (!write_ || !run_)
    throw std::system_error(error, std::generic_category(), "memory for translated code");
}

// Where the host has no such call, the switch to a thread that has waited must do.
void CodeBuffer::synchronize() const {
  static const long registered =
      syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
  if (registered == 0) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

CodeBuffer::~CodeBuffer() {
  munmap(write_, size_);
  munmap(run_, size_);
}

}  // namespace rvvm::jit
