// A byte back and forth between two processes through pipes: two context switches a round.

#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void echo(int from, int to)
{
    char byte;
    while (read(from, &byte, 1) == 1) checked(write(to, &byte, 1), "write");
    _exit(0);
}

static uint64_t run(long n)
{
    int there[2], back[2];
    checked(pipe(there) | pipe(back), "pipe");
    int child = (int)checked(fork(), "fork");
    if (child == 0) {
        close(there[1]);
        echo(there[0], back[1]);
    }
    uint64_t sum = 0;
    for (long i = 0; i < n; i++) {
        char byte = (char)i, answer;
        checked(write(there[1], &byte, 1), "write");
        checked(read(back[0], &answer, 1), "read");
        sum += answer == byte;
    }
    close(there[1]);
    checked(waitpid(child, NULL, 0), "waitpid");
    close(there[0]), close(back[0]), close(back[1]);
    return sum;
}

const struct kernel pingpong_kernel = {"pingpong", NULL, run, 10000};
