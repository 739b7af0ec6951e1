/*
 * Which pages of the guest RAM are private copies.
 *
 * In a private file mapping a page that was written is anonymous memory: present or swapped out, and not a page of
 * the file. Linux 6.7 tells so with the PAGEMAP_SCAN ioctl, in ranges; before that /proc/self/pagemap has eight bytes
 * a page (Documentation/admin-guide/mm/pagemap.rst: bit 63 present, 62 swapped, 61 file page or shared).
 */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* As in linux/fs.h of Linux 6.7; spelled out because Debian 12's headers are older. */
struct scan_region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};
struct scan_argument {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;
    uint64_t category_anyof_mask;
    uint64_t return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_argument)
#define SCAN_FILE (1u << 2)
#define SCAN_PRESENT (1u << 3)
#define SCAN_SWAPPED (1u << 4)

#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)

#define BATCH 4096

static int pagemap = -1;
static bool has_ioctl;

bool dirty_init(void) {
    /* Kept open: it stays valid for this address space when /proc goes away or QEMU becomes non-dumpable. */
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (pagemap < 0) return false;
    struct scan_region region;
    struct scan_argument probe = {
        .size = sizeof probe,
        .vec = (uintptr_t)&region,
        .vec_len = 1,
        .start = (uintptr_t)&probe / HF_PAGE * HF_PAGE,
        .end = (uintptr_t)&probe / HF_PAGE * HF_PAGE + HF_PAGE,
        .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
        .return_mask = SCAN_FILE,
    };
    has_ioctl = getenv("HOLDFAST_RAM_NO_SCAN") == NULL && ioctl(pagemap, SCAN_IOCTL, &probe) >= 0;
    return true;
}

const char *dirty_method(void) { return pagemap < 0 ? "none" : has_ioctl ? "ioctl" : "pagemap"; }

static bool append(struct runs *runs, uint64_t first, uint64_t pages, struct failure *f) {
    runs->pages += pages;
    if (runs->count > 0) {
        struct run *last = &runs->items[runs->count - 1];
        if (first < last->first_page + last->pages) return fail(f, "scan", "the page table walk went back");
        if (last->first_page + last->pages == first) {
            last->pages += pages;
            return true;
        }
    }
    if (runs->count == runs->capacity) {
        size_t capacity = runs->capacity == 0 ? 256 : runs->capacity * 2;
        struct run *items = realloc(runs->items, capacity * sizeof *items);
        if (items == NULL) return fail_errno(f, "allocate the list of dirty pages");
        runs->items = items;
        runs->capacity = capacity;
    }
    runs->items[runs->count++] = (struct run){first, pages};
    return true;
}

static bool scan_ioctl(const struct ram *ram, struct runs *out, struct failure *f) {
    struct scan_region *regions = malloc(BATCH * sizeof *regions);
    if (regions == NULL) return fail_errno(f, "allocate the scan buffer");
    uint64_t base = (uintptr_t)ram->base;
    uint64_t at = base;
    bool ok = true;
    while (ok && at < base + ram->bytes) {
        struct scan_argument scan = {
            .size = sizeof scan,
            .start = at,
            .end = base + ram->bytes,
            .vec = (uintptr_t)regions,
            .vec_len = BATCH,
            .category_inverted = SCAN_FILE,
            .category_mask = SCAN_FILE,
            .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
            .return_mask = SCAN_FILE,
        };
        long count = ioctl(pagemap, SCAN_IOCTL, &scan);
        if (count < 0) {
            ok = errno == EINTR ? true : fail_errno(f, "scan the page tables");
            continue;
        }
        for (long i = 0; ok && i < count; i++)
            ok = append(out, (regions[i].start - base) / HF_PAGE, (regions[i].end - regions[i].start) / HF_PAGE, f);
        /*
         * Linux 6.18 flushes its own buffer of 512 ranges in between, and when the walk ends after such a flush,
         * walk_end is still where that flush was, behind ranges that were given out.
         */
        uint64_t next = count > 0 && regions[count - 1].end > scan.walk_end ? regions[count - 1].end : scan.walk_end;
        if (ok && next <= at) ok = fail(f, "scan", "the page table walk does not advance");
        at = next;
    }
    free(regions);
    return ok;
}

static bool scan_entries(const struct ram *ram, struct runs *out, struct failure *f) {
    static uint64_t entries[BATCH]; /* only the server thread scans */
    uint64_t total = ram->bytes / HF_PAGE;
    off_t start = (off_t)((uintptr_t)ram->base / HF_PAGE * sizeof *entries);
    for (uint64_t page = 0; page < total;) {
        uint64_t wanted = total - page < BATCH ? total - page : BATCH;
        ssize_t got = pread(pagemap, entries, wanted * sizeof *entries, start + (off_t)(page * sizeof *entries));
        if (got < 0 && errno == EINTR) continue;
        if (got < (ssize_t)sizeof *entries) {
            if (got >= 0) errno = EIO;
            return fail_errno(f, "read the page map");
        }
        uint64_t count = (uint64_t)got / sizeof *entries;
        for (uint64_t i = 0; i < count; i++) {
            bool held = (entries[i] & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0;
            if (held && (entries[i] & ENTRY_FILE) == 0 && !append(out, page + i, 1, f)) return false;
        }
        page += count;
    }
    return true;
}

bool dirty_scan(const struct ram *ram, struct runs *out, struct failure *f) {
    *out = (struct runs){0};
    if (pagemap < 0) return fail(f, "state", "/proc/self/pagemap cannot be read");
    bool ok = has_ioctl ? scan_ioctl(ram, out, f) : scan_entries(ram, out, f);
    if (!ok) runs_free(out);
    return ok;
}

void runs_free(struct runs *runs) {
    free(runs->items);
    *runs = (struct runs){0};
}
