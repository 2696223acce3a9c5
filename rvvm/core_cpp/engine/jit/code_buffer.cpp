#include "engine/jit/code_buffer.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace rvvm::jit {

namespace {

[[noreturn]] void fail() {
  throw std::system_error(errno, std::generic_category(), "memory for translated code");
}

}  // namespace

// Shared memory without a file: where it is mapped perf takes the code's names from its map, which
// it does not for a memfd. mremap() of no old bytes maps the same pages once more.
CodeBuffer::CodeBuffer(std::size_t size) : size_{size} {
  void* write = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (write == MAP_FAILED) fail();
  void* run = mremap(write, 0, size, MREMAP_MAYMOVE);
  if (run == MAP_FAILED || mprotect(run, size, PROT_READ | PROT_EXEC) != 0) {
    const int why = errno;
    munmap(write, size);
    if (run != MAP_FAILED) munmap(run, size);
    errno = why;
    fail();
  }
  // A child of fork() would change this process's code.
  madvise(write, size, MADV_DONTFORK);
  madvise(run, size, MADV_DONTFORK);
  write_ = static_cast<u8*>(write);
  run_ = static_cast<u8*>(run);
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
