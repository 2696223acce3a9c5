// Work for devices, in the guest: `load files FOLDER COUNT`, `load serve PORT`, and at a server
// `load send|receive|ask HOST PORT COUNT`. Prints "load NAME NANOSECONDS" for each.
//
// A client's first 9 bytes say what it wants and how much, in the machine's order of bytes: 's', it
// sends so many bytes and gets one back; 'r', it is sent them; 'a', each byte comes back.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 18, FILE_SIZE = 4096 };

static char buffer[PIECE];
static int64_t started;

static long checked(long result, const char *what)
{
    if (result >= 0) return result;
    perror(what);
    exit(1);
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void begin(void) { started = nanoseconds(); }

static void done(const char *name)
{
    printf("load %s %lld\n", name, (long long)(nanoseconds() - started));
    fflush(stdout);
}

static void write_bytes(int end, int64_t count)
{
    while (count > 0)
        count -= checked(write(end, buffer, count < PIECE ? count : PIECE), "write");
}

static int64_t read_bytes(int end, int64_t count)
{
    int64_t left = count;
    while (left > 0) {
        long got = checked(read(end, buffer, left < PIECE ? left : PIECE), "read");
        if (!got) break;
        left -= got;
    }
    return count - left;
}

static int stream(void)
{
    int end = checked(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1;
    setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(end, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return end;
}

static struct sockaddr_in at(const char *host, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

static void serve_one(int end)
{
    char what;
    int64_t count;
    if (read_bytes(end, 1) != 1) return;
    what = buffer[0];
    if (read_bytes(end, 8) != 8) return;
    memcpy(&count, buffer, 8);
    if (what == 's' && read_bytes(end, count) == count) write_bytes(end, 1);
    if (what == 'r') write_bytes(end, count);
    while (what == 'a' && read_bytes(end, 1)) write_bytes(end, 1);
}

static void serve(const char *port)
{
    struct sockaddr_in address = at("0.0.0.0", port);
    int listener = stream(), end;
    checked(bind(listener, (struct sockaddr *)&address, sizeof address), "bind");
    checked(listen(listener, 4), "listen");
    while ((end = checked(accept(listener, 0, 0), "accept")) >= 0) {
        serve_one(end);
        close(end);
    }
}

static void ask(const char *name, const char *host, const char *port, int64_t count)
{
    struct sockaddr_in address = at(host, port);
    int end = stream();
    checked(connect(end, (struct sockaddr *)&address, sizeof address), "connect");
    buffer[0] = *name;
    memcpy(buffer + 1, &count, 8);
    begin();
    write_bytes(end, 9);
    if (*name == 's') write_bytes(end, count);
    if (*name == 's') count = 1;
    for (int64_t k = 0; *name == 'a' && k < count; k++) {
        write_bytes(end, 1);
        checked(read_bytes(end, 1) - 1, "answer");
    }
    if (*name != 'a') checked(read_bytes(end, count) - count, "answer");
    done(name);
}

static void create(const char *path)
{
    int file = checked(open(path, O_CREAT | O_EXCL | O_WRONLY, 0644), path);
    checked(write(file, buffer, FILE_SIZE), path);
    close(file);
}

static void look(const char *path)
{
    struct stat about;
    checked(stat(path, &about), path);
}

static void reading(const char *path)
{
    int file = checked(open(path, O_RDONLY), path);
    checked(read(file, buffer, FILE_SIZE), path);
    close(file);
}

static void removal(const char *path) { checked(unlink(path), path); }

static void files(const char *folder, int count)
{
    const struct {
        const char *name;
        void (*act)(const char *path);
    } steps[] = {{"create", create}, {"stat", look}, {"read", reading}, {"remove", removal}};
    for (unsigned step = 0; step < sizeof steps / sizeof *steps; step++) {
        begin();
        for (int k = 0; k < count; k++) {
            char path[256];
            snprintf(path, sizeof path, "%s/file%d", folder, k);
            steps[step].act(path);
        }
        done(steps[step].name);
    }
}

int main(int count, char **words)
{
    if (count == 4 && !strcmp(words[1], "files")) files(words[2], atoi(words[3]));
    if (count == 3 && !strcmp(words[1], "serve")) serve(words[2]);
    if (count == 5) ask(words[1], words[2], words[3], atoll(words[4]));
    return 0;
}
