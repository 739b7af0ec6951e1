/* The guest RAM mapping: learned from the interposed open and mmap, renewed by RESET. */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char ram_path[HF_MAX_PATH];
static bool read_only_wanted;
static atomic_bool opened; /* whether `device` and `inode` are set; spares every other mmap the lock */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dev_t device;
static ino_t inode;
static struct ram ram = {.fd = -1};

void ram_configure(const char *path, bool read_only) {
    snprintf(ram_path, sizeof ram_path, "%s", path);
    read_only_wanted = read_only;
}

bool ram_is_path(const char *path) { return ram_path[0] != '\0' && path != NULL && strcmp(path, ram_path) == 0; }

bool ram_read_only(void) { return read_only_wanted; }

void ram_opened(int fd) {
    int saved = errno;
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        pthread_mutex_lock(&lock);
        device = info.st_dev;
        inode = info.st_ino;
        atomic_store(&opened, true);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

void ram_mapped(void *address, size_t length, int prot, int flags, int fd, off_t offset) {
    if (fd < 0 || !atomic_load(&opened) || (prot & PROT_WRITE) == 0) return;
    int saved = errno;
    struct stat info;
    if (fstat(fd, &info) == 0) {
        pthread_mutex_lock(&lock);
        if (info.st_dev == device && info.st_ino == inode) {
            if (ram.fd >= 0) close(ram.fd);
            ram = (struct ram){
                .base = address,
                .bytes = length / HF_PAGE * HF_PAGE,
                .prot = prot,
                .flags = flags,
                .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0),
                .offset = offset,
                .generation = ram.generation + 1,
            };
        }
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
}

void ram_unmapped(void *address, size_t length) {
    if (!atomic_load(&opened)) return;
    uint8_t *first = address;
    pthread_mutex_lock(&lock);
    if (ram.base != NULL && first < ram.base + ram.bytes && ram.base < first + length) {
        int saved = errno;
        if (ram.fd >= 0) close(ram.fd);
        errno = saved;
        ram = (struct ram){.fd = -1, .generation = ram.generation + 1};
    }
    pthread_mutex_unlock(&lock);
}

struct ram ram_get(void) {
    pthread_mutex_lock(&lock);
    struct ram copy = ram;
    pthread_mutex_unlock(&lock);
    return copy;
}

bool ram_require_private(struct ram *out, struct failure *f) {
    *out = ram_get();
    if (out->base == NULL) return fail(f, "state", "the guest RAM is not mapped yet");
    if ((out->flags & MAP_TYPE) != MAP_PRIVATE) return fail(f, "state", "the guest RAM is mapped shared");
    if (out->fd < 0) return fail(f, "state", "the RAM file could not be duplicated");
    if (out->bytes == 0 || out->bytes > HF_MAX_RAM_BYTES) return fail(f, "state", "unusable size of the guest RAM");
    return true;
}

bool ram_reset(const struct ram *current, struct failure *f) {
    /* The system call itself: the interposed mmap would take this for a mapping of QEMU's. */
    long address = syscall(SYS_mmap, current->base, current->bytes, current->prot,
                           MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, current->fd, current->offset);
    if (address == -1) return fail_errno(f, "map the RAM file again");
    return true;
}
