/*
 * holdfast-ramshim.so: saves and restores the guest RAM of a stock QEMU from inside its process (LD_PRELOAD).
 *
 * Why inside, and not through /proc/PID/mem from the server:
 *   - QEMU runs under another user id, in namespaces of its own. Reading its memory from outside needs ptrace rights
 *     over it, which the server should not hold; this way it needs the right to connect to a socket.
 *   - A large image can be mapped: pages come in when the guest touches them. From outside they can only be copied,
 *     at some 0.3 ms a megabyte.
 *   - All machines of a template map one RAM file. QEMU before 8.2 opens it for writing even where it maps it
 *     privately; here exactly that open is turned into a read-only one, so the file can be one that QEMU's user may
 *     not write.
 *
 * Environment, read before main and then removed:
 *   HOLDFAST_SHIM_SOCKET   unix stream socket to listen on (mode 0600); without it the library does nothing
 *   HOLDFAST_RAM_PATH      the mem-path of `-object memory-backend-file`, as the very same string
 *   HOLDFAST_RAM_READONLY  1: open that path read-only
 *   HOLDFAST_RAM_NO_SCAN   1: find dirty pages without the PAGEMAP_SCAN ioctl (for tests)
 * When it cannot listen, the process ends with status 97 before main.
 *
 * Protocol (at most 65,535 bytes a line; request.c says how values are encoded; the numbers are pages of 4096 bytes):
 *   SAVE index=PATH data=PATH layer=N sync=0|1
 *   LOAD index=PATH layers=PATH,PATH,… eager=PAGES verify=PAGES
 *   STATUS | DIRTY | RESET
 * answered by `OK {json}` or `ERR code message`; the code is an errno name (ENOSPC) or one of usage, state, index,
 * layer, data, corrupt, scan. `EVENT {"verified":N}`, `EVENT {"corrupt":PAGE}` or `EVENT {"stopped":N}` follows a
 * LOAD that answered before all pages were verified: `stopped` when SAVE, LOAD or RESET came first.
 *
 * The machine must be stopped during SAVE, and must not have run before LOAD or RESET: QEMU keeps translated code.
 * Both threads are started here, so that QEMU's seccomp filter, which it installs for all threads, finds them
 * running: nothing they do later is among what `-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,
 * resourcecontrol=deny` denies.
 */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define SETUP_FAILED 97

/*
 * The interposed functions make the system call themselves: they are called before any constructor has run, when
 * dlsym is not to be relied on yet. What glibc adds, a cancellation point, QEMU does not use.
 */
static int open_file(int directory, const char *path, int flags, mode_t mode) {
    bool is_ram = ram_is_path(path);
    if (is_ram && ram_read_only() && (flags & O_ACCMODE) == O_RDWR)
        flags = (flags & ~(O_ACCMODE | O_CREAT | O_TRUNC | O_EXCL)) | O_RDONLY;
    int fd = (int)syscall(SYS_openat, directory, path, flags, mode);
    if (is_ram && fd >= 0) ram_opened(fd);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    return creates ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                                                             \
    EXPORT int name(const char *path, int flags, ...);                                                                \
    EXPORT int name(const char *path, int flags, ...) {                                                               \
        va_list arguments;                                                                                            \
        va_start(arguments, flags);                                                                                   \
        mode_t mode = mode_of(flags, arguments);                                                                      \
        va_end(arguments);                                                                                            \
        return open_file(AT_FDCWD, path, flags, mode);                                                                \
    }
#define DEFINE_OPENAT(name)                                                                                           \
    EXPORT int name(int directory, const char *path, int flags, ...);                                                 \
    EXPORT int name(int directory, const char *path, int flags, ...) {                                                \
        va_list arguments;                                                                                            \
        va_start(arguments, flags);                                                                                   \
        mode_t mode = mode_of(flags, arguments);                                                                      \
        va_end(arguments);                                                                                            \
        return open_file(directory, path, flags, mode);                                                               \
    }
#define DEFINE_OPEN_2(name)                                                                                           \
    EXPORT int name(const char *path, int flags);                                                                     \
    EXPORT int name(const char *path, int flags) { return open_file(AT_FDCWD, path, flags, 0); }
#define DEFINE_OPENAT_2(name)                                                                                         \
    EXPORT int name(int directory, const char *path, int flags);                                                      \
    EXPORT int name(int directory, const char *path, int flags) { return open_file(directory, path, flags, 0); }
#define DEFINE_MMAP(name)                                                                                             \
    EXPORT void *name(void *address, size_t length, int prot, int flags, int fd, off_t offset);                       \
    EXPORT void *name(void *address, size_t length, int prot, int flags, int fd, off_t offset) {                      \
        void *result = (void *)syscall(SYS_mmap, address, length, prot, flags, fd, offset);                           \
        if (result != MAP_FAILED) ram_mapped(result, length, prot, flags, fd, offset);                                \
        return result;                                                                                                \
    }

/* The headers rename open and mmap to their 64-bit variants with _FILE_OFFSET_BITS=64: name each symbol by itself. */
#define SYMBOL(name) __asm__(#name)
EXPORT int shim_open(const char *path, int flags, ...) SYMBOL(open);
DEFINE_OPEN(shim_open)
EXPORT int shim_open64(const char *path, int flags, ...) SYMBOL(open64);
DEFINE_OPEN(shim_open64)
EXPORT int shim_openat(int directory, const char *path, int flags, ...) SYMBOL(openat);
DEFINE_OPENAT(shim_openat)
EXPORT int shim_openat64(int directory, const char *path, int flags, ...) SYMBOL(openat64);
DEFINE_OPENAT(shim_openat64)
DEFINE_OPEN_2(__open_2)
DEFINE_OPEN_2(__open64_2)
DEFINE_OPENAT_2(__openat_2)
DEFINE_OPENAT_2(__openat64_2)
EXPORT void *shim_mmap(void *address, size_t length, int prot, int flags, int fd, off_t offset) SYMBOL(mmap);
DEFINE_MMAP(shim_mmap)
EXPORT void *shim_mmap64(void *address, size_t length, int prot, int flags, int fd, off_t offset) SYMBOL(mmap64);
DEFINE_MMAP(shim_mmap64)

EXPORT int shim_munmap(void *address, size_t length) SYMBOL(munmap);
EXPORT int shim_munmap(void *address, size_t length) {
    int result = (int)syscall(SYS_munmap, address, length);
    if (result == 0) ram_unmapped(address, length);
    return result;
}

static void give_up(const char *what) {
    fprintf(stderr, "holdfast-ramshim: %s\n", what);
    _exit(SETUP_FAILED);
}

static void start(const char *socket_path) {
    struct failure f = {0};
    sigset_t all, former;
    crc32c_init();
    dirty_init(); /* SAVE and DIRTY say so when it failed */
    /* The threads inherit the mask: QEMU's signals are QEMU's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    if (!verifier_init()) give_up("cannot start the verifier");
    if (!server_start(socket_path, &f)) {
        char line[320];
        snprintf(line, sizeof line, "cannot serve: %s: %s", f.code, f.message);
        give_up(line);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

__attribute__((constructor)) static void begin(void) {
    const char *socket_path = getenv("HOLDFAST_SHIM_SOCKET");
    const char *ram_path = getenv("HOLDFAST_RAM_PATH");
    const char *read_only = getenv("HOLDFAST_RAM_READONLY");
    if (socket_path != NULL) {
        if (ram_path == NULL || strlen(ram_path) >= HF_MAX_PATH || strlen(socket_path) >= HF_MAX_PATH)
            give_up("HOLDFAST_RAM_PATH is missing or a path is too long");
        ram_configure(ram_path, read_only != NULL && strcmp(read_only, "1") == 0);
        start(socket_path);
    }
    unsetenv("HOLDFAST_SHIM_SOCKET");
    unsetenv("HOLDFAST_RAM_PATH");
    unsetenv("HOLDFAST_RAM_READONLY");
    unsetenv("HOLDFAST_RAM_NO_SCAN");
}
