/* The index file of a RAM image: read and check, overlay, write. The layout is in ramshim.h. */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char magic[8] = {'H', 'F', 'R', 'A', 'M', 'I', 'X', '1'};

void index_free(struct ram_index *index) {
    free(index->extents);
    free(index->crcs);
    *index = (struct ram_index){0};
}

static bool read_all(int fd, void *to, size_t length, off_t offset, struct failure *f) {
    uint8_t *at = to;
    while (length > 0) {
        ssize_t got = pread(fd, at, length, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(f, "read the index");
        if (got == 0) return fail(f, "index", "the index is truncated");
        at += got;
        offset += got;
        length -= (size_t)got;
    }
    return true;
}

static bool check_header(const struct hf_index_header *header, uint64_t ram_bytes, uint64_t file_bytes,
                         struct failure *f) {
    if (memcmp(header->magic, magic, sizeof magic) != 0) return fail(f, "index", "not a RAM index");
    if (header->page_size != HF_PAGE) return fail(f, "index", "page size is not 4096");
    if (header->ram_bytes != ram_bytes)
        return fail(f, "index", "made for a RAM of %llu bytes, not %llu", (unsigned long long)header->ram_bytes,
                    (unsigned long long)ram_bytes);
    if (header->page_count > ram_bytes / HF_PAGE || header->extent_count > header->page_count)
        return fail(f, "index", "impossible counts");
    uint64_t expected = sizeof *header + header->extent_count * (uint64_t)sizeof(struct hf_extent) +
                        header->page_count * sizeof(uint32_t) + sizeof(uint32_t);
    if (expected != file_bytes)
        return fail(f, "index", "file has %llu bytes, not %llu", (unsigned long long)file_bytes,
                    (unsigned long long)expected);
    return true;
}

static bool check_extents(const struct ram_index *index, uint32_t layers, struct failure *f) {
    uint64_t total = index->ram_bytes / HF_PAGE;
    uint64_t next = 0;
    uint64_t pages = 0;
    for (uint32_t i = 0; i < index->extent_count; i++) {
        const struct hf_extent *extent = &index->extents[i];
        if (extent->pages == 0) return fail(f, "index", "extent %u is empty", i);
        if (extent->first_page < next) return fail(f, "index", "extent %u is out of order or overlaps", i);
        if (extent->first_page >= total || extent->pages > total - extent->first_page)
            return fail(f, "index", "extent %u is outside the RAM", i);
        if (extent->layer >= layers) return fail(f, "index", "extent %u names layer %u", i, extent->layer);
        next = extent->first_page + extent->pages;
        pages += extent->pages;
    }
    if (pages != index->page_count) return fail(f, "index", "page count is not the sum of the extents");
    return true;
}

static bool read_body(int fd, const struct hf_index_header *header, struct ram_index *out, struct failure *f) {
    size_t extent_bytes = header->extent_count * sizeof(struct hf_extent);
    size_t crc_bytes = header->page_count * sizeof(uint32_t);
    *out = (struct ram_index){
        .ram_bytes = header->ram_bytes,
        .page_count = header->page_count,
        .extent_count = header->extent_count,
        .extents = malloc(extent_bytes + 1),
        .crcs = malloc(crc_bytes + 1),
    };
    if (out->extents == NULL || out->crcs == NULL) return fail_errno(f, "allocate the index");
    uint32_t stored;
    off_t at = sizeof *header;
    if (!read_all(fd, out->extents, extent_bytes, at, f)) return false;
    if (!read_all(fd, out->crcs, crc_bytes, at + (off_t)extent_bytes, f)) return false;
    if (!read_all(fd, &stored, sizeof stored, at + (off_t)(extent_bytes + crc_bytes), f)) return false;
    uint32_t crc = crc32c(0, header, sizeof *header);
    crc = crc32c(crc, out->extents, extent_bytes);
    crc = crc32c(crc, out->crcs, crc_bytes);
    if (crc != stored) return fail(f, "index", "the checksum of the index does not match");
    return true;
}

bool index_read(const char *path, uint64_t ram_bytes, uint32_t layers, struct ram_index *out, struct failure *f) {
    *out = (struct ram_index){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return fail_errno(f, "open the index");
    struct stat info;
    struct hf_index_header header;
    bool ok = fstat(fd, &info) == 0 || fail_errno(f, "stat the index");
    ok = ok && (S_ISREG(info.st_mode) || fail(f, "index", "not a regular file"));
    ok = ok && read_all(fd, &header, sizeof header, 0, f) &&
         check_header(&header, ram_bytes, (uint64_t)info.st_size, f) && read_body(fd, &header, out, f) &&
         check_extents(out, layers, f);
    close(fd);
    if (!ok) index_free(out);
    return ok;
}

/* Appends one range with its CRCs, joined to the last extent when it continues it in the same layer. */
static void emit(struct ram_index *out, uint64_t first, uint64_t pages, uint32_t layer, const uint32_t *crcs) {
    memcpy(out->crcs + out->page_count, crcs, pages * sizeof *crcs);
    out->page_count += pages;
    if (out->extent_count > 0) {
        struct hf_extent *last = &out->extents[out->extent_count - 1];
        if (last->layer == layer && last->first_page + last->pages == first) {
            last->pages += (uint32_t)pages;
            return;
        }
    }
    out->extents[out->extent_count++] = (struct hf_extent){first, (uint32_t)pages, layer};
}

bool index_overlay(const struct ram_index *base, const struct runs *dirty, const uint32_t *crcs, uint32_t layer,
                   struct ram_index *out, struct failure *f) {
    /* A dirty run adds itself and splits at most one extent of the base in two. */
    size_t extents = base->extent_count + 2 * dirty->count + 1;
    *out = (struct ram_index){
        .ram_bytes = base->ram_bytes,
        .extents = malloc(extents * sizeof *out->extents),
        .crcs = malloc((base->page_count + dirty->pages + 1) * sizeof *out->crcs),
    };
    if (out->extents == NULL || out->crcs == NULL) {
        fail_errno(f, "allocate the new index");
        index_free(out);
        return false;
    }
    size_t run = 0;
    uint64_t covered = 0; /* end of the runs that are out */
    const uint32_t *base_crcs = base->crcs;
    for (uint32_t i = 0; i < base->extent_count; i++) {
        const struct hf_extent *extent = &base->extents[i];
        uint64_t at = extent->first_page > covered ? extent->first_page : covered;
        uint64_t end = extent->first_page + extent->pages;
        while (at < end) {
            while (run < dirty->count && dirty->items[run].first_page <= at) {
                const struct run *next = &dirty->items[run++];
                emit(out, next->first_page, next->pages, layer, crcs);
                crcs += next->pages;
                covered = next->first_page + next->pages;
                if (covered > at) at = covered;
            }
            if (at >= end) break;
            uint64_t stop = run < dirty->count && dirty->items[run].first_page < end ? dirty->items[run].first_page : end;
            emit(out, at, stop - at, extent->layer, base_crcs + (at - extent->first_page));
            at = stop;
        }
        base_crcs += extent->pages;
    }
    for (; run < dirty->count; run++) {
        emit(out, dirty->items[run].first_page, dirty->items[run].pages, layer, crcs);
        crcs += dirty->items[run].pages;
    }
    return true;
}

bool sync_parent(const char *path, struct failure *f) {
    char copy[HF_MAX_PATH];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(f, "open the directory");
    bool ok = fsync(fd) == 0 || fail_errno(f, "sync the directory");
    close(fd);
    return ok;
}

static bool write_vectors(int fd, struct iovec *vectors, int count, struct failure *f) {
    while (count > 0) {
        ssize_t put = writev(fd, vectors, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno(f, "write the index");
        while (count > 0 && (size_t)put >= vectors->iov_len) {
            put -= (ssize_t)vectors->iov_len;
            vectors++;
            count--;
        }
        if (count > 0) {
            vectors->iov_base = (uint8_t *)vectors->iov_base + put;
            vectors->iov_len -= (size_t)put;
        }
    }
    return true;
}

bool index_write(const char *path, const struct ram_index *index, bool sync, uint64_t *bytes, struct failure *f) {
    char temporary[HF_MAX_PATH + 8];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    struct hf_index_header header = {
        .page_size = HF_PAGE,
        .extent_count = index->extent_count,
        .ram_bytes = index->ram_bytes,
        .page_count = index->page_count,
    };
    memcpy(header.magic, magic, sizeof magic);
    size_t extent_bytes = index->extent_count * sizeof *index->extents;
    size_t crc_bytes = index->page_count * sizeof *index->crcs;
    uint32_t crc = crc32c(0, &header, sizeof header);
    crc = crc32c(crc, index->extents, extent_bytes);
    crc = crc32c(crc, index->crcs, crc_bytes);
    struct iovec vectors[] = {
        {&header, sizeof header}, {index->extents, extent_bytes}, {index->crcs, crc_bytes}, {&crc, sizeof crc}};
    *bytes = sizeof header + extent_bytes + crc_bytes + sizeof crc;
    unlink(temporary); /* left by a process that was killed here */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) return fail_errno(f, "create the index");
    bool ok = write_vectors(fd, vectors, 4, f) && (!sync || fdatasync(fd) == 0 || fail_errno(f, "sync the index"));
    ok = (close(fd) == 0 || (ok && fail_errno(f, "close the index"))) && ok;
    ok = ok && (rename(temporary, path) == 0 || fail_errno(f, "rename the index"));
    if (!ok) unlink(temporary);
    return ok && (!sync || sync_parent(path, f));
}
