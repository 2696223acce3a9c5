// First touches of fresh pages, 64 MB at a time: the kernel clears each and maps it.

#include <sys/mman.h>

#include "bench.h"

enum { PAGE = 4096, PAGES = 1 << 14 };

static uint64_t run(long n)
{
    uint64_t sum = 0;
    while (n > 0) {
        long pages = n < PAGES ? n : PAGES;
        size_t size = (size_t)pages * PAGE;
        char *fresh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        checked(fresh == MAP_FAILED ? -1 : 0, "mmap");
        madvise(fresh, size, MADV_NOHUGEPAGE);
        for (long i = 0; i < pages; i++) sum += (uint64_t)(fresh[i * PAGE] += 1);
        checked(munmap(fresh, size), "munmap");
        n -= pages;
    }
    return sum;
}

const struct kernel faults_kernel = {"faults", NULL, run, 32768};
