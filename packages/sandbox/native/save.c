/*
 * SAVE: the dirty pages into a layer's data file, then a new index.
 *
 * A page is written in place, at its own offset, so a second save of the same sandbox costs what changed and the
 * file never grows beyond the RAM. That overwrites pages which the former index describes: until the new index is
 * renamed over it, the former one fails its checksums. The caller may not count on it any more anyway, as the
 * machine ran on and its disk went on with it. A data file that another image refers to is not to be saved into.
 *
 * Pages of the file that are mapped lazily are clean by definition, and only dirty pages are written, so a save
 * never changes what the guest sees.
 */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Start writing back early, so that the fdatasync at the end finds little to do. */
#define WRITEBACK_BYTES (8u << 20)

struct writer {
    const struct ram *ram;
    int fd;
    bool existed;
    bool sync;
    bool can_punch;
    uint64_t written;
    uint64_t unflushed;
    uint32_t *crcs;
    struct failure *f;
};

static bool is_zero_page(const uint8_t *page) {
    uint64_t first;
    memcpy(&first, page, sizeof first);
    return first == 0 && memcmp(page, page + 8, HF_PAGE - 8) == 0;
}

static bool write_range(struct writer *w, uint64_t first, uint64_t pages) {
    const uint8_t *from = w->ram->base + first * HF_PAGE;
    size_t left = pages * HF_PAGE;
    off_t offset = (off_t)(first * HF_PAGE);
    while (left > 0) {
        ssize_t put = pwrite(w->fd, from, left, offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            if (put == 0) errno = ENOSPC;
            return fail_errno(w->f, "write the data file");
        }
        from += put;
        offset += put;
        left -= (size_t)put;
        w->written += (uint64_t)put;
        w->unflushed += (uint64_t)put;
    }
    if (w->sync && w->unflushed >= WRITEBACK_BYTES) {
        /* Only a hint: fdatasync reports what fails. */
        sync_file_range(w->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        w->unflushed = 0;
    }
    return true;
}

static bool zero_range(struct writer *w, uint64_t first, uint64_t pages) {
    if (!w->existed) return true;
    if (w->can_punch) {
        int punched = fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(first * HF_PAGE),
                                (off_t)(pages * HF_PAGE));
        if (punched == 0) return true;
        if (errno != EOPNOTSUPP) return fail_errno(w->f, "punch a hole into the data file");
        w->can_punch = false;
    }
    return write_range(w, first, pages);
}

/* Hashes and writes one run, in chunks that stay in the cache between the two. */
static bool write_run(struct writer *w, const struct run *run) {
    for (uint64_t done = 0; done < run->pages;) {
        uint64_t count = run->pages - done < HF_CHUNK_PAGES ? run->pages - done : HF_CHUNK_PAGES;
        uint64_t first = run->first_page + done;
        const uint8_t *pages = w->ram->base + first * HF_PAGE;
        crc32c_pages(pages, count, w->crcs);
        w->crcs += count;
        for (uint64_t i = 0; i < count;) {
            bool zero = is_zero_page(pages + i * HF_PAGE);
            uint64_t end = i + 1;
            while (end < count && is_zero_page(pages + end * HF_PAGE) == zero) end++;
            if (!(zero ? zero_range(w, first + i, end - i) : write_range(w, first + i, end - i))) return false;
            i = end;
        }
        done += count;
    }
    return true;
}

/* Refuses to write over, or to number, a layer that is not the one that was loaded. */
static bool check_layer(const struct image *image, const struct stat *data, uint32_t layer, bool *in_place,
                        struct failure *f) {
    *in_place = false;
    if (image == NULL) return true;
    if (layer > image->layer_count)
        return fail(f, "layer", "the loaded image has %u layers, the next is that number", image->layer_count);
    for (uint32_t i = 0; i < image->layer_count; i++) {
        bool same = image->layers[i].device == data->st_dev && image->layers[i].inode == data->st_ino;
        if (same && i != layer) return fail(f, "layer", "the data file is that of loaded layer %u", i);
        if (!same && i == layer) return fail(f, "layer", "the data file is not that of loaded layer %u", i);
        *in_place = *in_place || same;
    }
    return true;
}

static bool open_data(const struct save_request *request, const struct image *image, struct writer *w,
                      bool *in_place) {
    w->fd = open(request->data, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640);
    if (w->fd < 0) return fail_errno(w->f, "open the data file");
    struct stat info;
    if (fstat(w->fd, &info) < 0) return fail_errno(w->f, "stat the data file");
    if (!S_ISREG(info.st_mode)) return fail(w->f, "data", "the data file is not a regular file");
    if (!check_layer(image, &info, request->layer, in_place, w->f)) return false;
    w->existed = info.st_size > 0;
    if ((uint64_t)info.st_size > w->ram->bytes) return fail(w->f, "data", "the data file is larger than the RAM");
    /* Full size from the start: a mapping of it can then never meet the end of the file. */
    if ((uint64_t)info.st_size < w->ram->bytes && ftruncate(w->fd, (off_t)w->ram->bytes) < 0)
        return fail_errno(w->f, "extend the data file");
    return true;
}

static bool write_pages(const struct save_request *request, const struct runs *dirty, struct writer *w) {
    for (size_t i = 0; i < dirty->count; i++)
        if (!write_run(w, &dirty->items[i])) return false;
    if (!request->sync) return true;
    if (fdatasync(w->fd) < 0) return fail_errno(w->f, "sync the data file");
    return w->existed || sync_parent(request->data, w->f);
}

static bool save(struct session *session, const struct save_request *request, const struct ram *ram,
                 const struct runs *dirty, struct writer *w, struct save_result *out, struct failure *f) {
    bool in_place = false;
    uint32_t *crcs = malloc((dirty->pages + 1) * sizeof *crcs);
    if (crcs == NULL) return fail_errno(f, "allocate the checksums");
    w->crcs = crcs;
    struct ram_index empty = {.ram_bytes = ram->bytes};
    struct ram_index next = {0};
    bool ok = open_data(request, session->image, w, &in_place) && write_pages(request, dirty, w) &&
              index_overlay(session->image ? &session->image->index : &empty, dirty, crcs, request->layer, &next, f) &&
              index_write(request->index, &next, request->sync, &out->index_bytes, f);
    free(crcs);
    if (ok) {
        out->dirty_pages = dirty->pages;
        out->written_bytes = w->written;
        out->total_pages = next.page_count;
    }
    if (ok && in_place) {
        /* The loaded index no longer says what the layer's file holds; the new one does. */
        struct ram_index former = session->image->index;
        session->image->index = next;
        next = former;
    }
    index_free(&next);
    return ok;
}

bool image_save(struct session *session, const struct save_request *request, struct save_result *out,
                struct failure *f) {
    struct ram ram;
    struct runs dirty;
    if (!ram_require_private(&ram, f)) return false;
    if (session->image != NULL && session->generation != ram.generation) session_forget(session);
    /* It compares the files with the loaded index, and both are about to change. */
    verifier_stop();
    if (!dirty_scan(&ram, &dirty, f)) return false;
    struct writer w = {.ram = &ram, .fd = -1, .sync = request->sync, .can_punch = true, .f = f};
    bool ok = save(session, request, &ram, &dirty, &w, out, f);
    if (w.fd >= 0) close(w.fd);
    runs_free(&dirty);
    return ok;
}
