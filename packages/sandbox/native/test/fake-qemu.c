/*
 * Plays QEMU's part for the tests of holdfast-ramshim.so: opens a RAM file, reserves an area and maps the file into
 * it, then obeys lines on standard input. Each is answered by one line: `ok …` or `bad …`.
 *
 *   fake-qemu RAM-FILE BYTES [shared]
 *   fill FIRST COUNT SEED     writes pages that depend on the seed and the page number
 *   scatter FIRST COUNT STEP SEED   one page in STEP
 *   zero FIRST COUNT
 *   check FIRST COUNT SEED | check-zero FIRST COUNT | check-file FIRST COUNT PATH
 *   scattered FIRST COUNT STEP SEED   checks what scatter wrote
 *   info                      the access mode of the descriptor and how much of the mapping is resident
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul
#define ALIGN (2ul << 20)

static unsigned char *ram;
static unsigned long pages;
static int ram_fd;

static void make_page(unsigned long page, unsigned long seed, unsigned long *out) {
    unsigned long state = (page + 1) * 0x9E3779B97F4A7C15ul + seed;
    for (unsigned i = 0; i < PAGE / sizeof *out; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = state;
    }
}

static void map_ram(const char *path, unsigned long bytes, int sharing) {
    int flags = O_RDWR;
    ram_fd = open(path, flags);
    if (ram_fd < 0) {
        perror("open");
        exit(1);
    }
    unsigned char *area = mmap(NULL, bytes + ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned long offset = (ALIGN - (unsigned long)area % ALIGN) % ALIGN;
    ram = mmap(area + offset, bytes, PROT_READ | PROT_WRITE, sharing | MAP_FIXED, ram_fd, 0);
    if (area == MAP_FAILED || ram == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    if (offset > 0) munmap(area, offset);
    munmap(area + offset + bytes, ALIGN - offset);
    pages = bytes / PAGE;
}

static long first_difference(unsigned long first, unsigned long count, unsigned long step, unsigned long seed) {
    unsigned long expected[PAGE / sizeof(unsigned long)];
    for (unsigned long i = 0; i < count; i++) {
        unsigned long page = first + i * step;
        make_page(page, seed, expected);
        if (memcmp(ram + page * PAGE, expected, PAGE) != 0) return (long)page;
    }
    return -1;
}

static long first_unlike_file(unsigned long first, unsigned long count, const char *path) {
    unsigned char expected[PAGE];
    int fd = open(path, O_RDONLY);
    long result = fd < 0 ? (long)first : -1;
    for (unsigned long page = first; result < 0 && page < first + count; page++)
        if (pread(fd, expected, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE ||
            memcmp(ram + page * PAGE, expected, PAGE) != 0)
            result = (long)page;
    if (fd >= 0) close(fd);
    return result;
}

static long first_not_zero(unsigned long first, unsigned long count) {
    static const unsigned char zero[PAGE];
    for (unsigned long page = first; page < first + count; page++)
        if (memcmp(ram + page * PAGE, zero, PAGE) != 0) return (long)page;
    return -1;
}

static void report(long page) {
    if (page < 0) puts("ok");
    else printf("bad page %ld\n", page);
}

static void info(void) {
    unsigned char *resident = malloc(pages);
    unsigned long count = 0;
    if (resident != NULL && mincore(ram, pages * PAGE, resident) == 0)
        for (unsigned long i = 0; i < pages; i++) count += resident[i] & 1;
    free(resident);
    int writable = (fcntl(ram_fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    printf("ok %s %lu %s\n", writable ? "writable" : "read-only", count,
           getenv("HOLDFAST_SHIM_SOCKET") || getenv("HOLDFAST_RAM_PATH") ? "environment-left" : "environment-clean");
}

static int obey(char *line) {
    unsigned long a = 0, b = 0, c = 0, d = 0;
    char path[4096];
    if (sscanf(line, "fill %lu %lu %lu", &a, &b, &c) == 3) {
        for (unsigned long page = a; page < a + b; page++) make_page(page, c, (unsigned long *)(ram + page * PAGE));
        puts("ok");
    } else if (sscanf(line, "scatter %lu %lu %lu %lu", &a, &b, &c, &d) == 4) {
        for (unsigned long i = 0; i < b; i++) make_page(a + i * c, d, (unsigned long *)(ram + (a + i * c) * PAGE));
        puts("ok");
    } else if (sscanf(line, "zero %lu %lu", &a, &b) == 2) {
        memset(ram + a * PAGE, 0, b * PAGE);
        puts("ok");
    } else if (sscanf(line, "check-zero %lu %lu", &a, &b) == 2) {
        report(first_not_zero(a, b));
    } else if (sscanf(line, "check-file %lu %lu %4095s", &a, &b, path) == 3) {
        report(first_unlike_file(a, b, path));
    } else if (sscanf(line, "check %lu %lu %lu", &a, &b, &c) == 3) {
        report(first_difference(a, b, 1, c));
    } else if (sscanf(line, "scattered %lu %lu %lu %lu", &a, &b, &c, &d) == 4) {
        report(first_difference(a, b, c, d));
    } else if (strncmp(line, "info", 4) == 0) {
        info();
    } else {
        return 0;
    }
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    map_ram(argv[1], strtoul(argv[2], NULL, 10), argc > 3 ? MAP_SHARED : MAP_PRIVATE);
    puts("ok ready");
    fflush(stdout);
    char line[8192];
    while (fgets(line, sizeof line, stdin) != NULL)
        if (!obey(line)) return 3;
    return 0;
}
