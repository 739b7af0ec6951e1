/*
 * LOAD: lays an image over the template's RAM, before the machine has run.
 *
 * Small extents are copied. Large ones are mapped from the layer's file, so their pages come in when the guest
 * touches them, and a gigabyte costs what a megabyte does. Everything is checked before the RAM is touched; when
 * something fails after that, the template is mapped over everything again.
 */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void image_free(struct image *image) {
    if (image == NULL) return;
    for (uint32_t i = 0; i < image->layer_count; i++)
        if (image->layers[i].fd >= 0) close(image->layers[i].fd);
    index_free(&image->index);
    free(image->pieces);
    free(image);
}

void session_forget(struct session *session) {
    verifier_forget();
    image_free(session->image);
    session->image = NULL;
}

bool session_reset(struct session *session, struct failure *f) {
    struct ram ram;
    if (!ram_require_private(&ram, f)) return false;
    session_forget(session);
    return ram_reset(&ram, f);
}

static bool open_layers(const struct load_request *request, struct image *image, struct failure *f) {
    uint64_t needed[HF_MAX_LAYERS] = {0};
    for (uint32_t i = 0; i < image->index.extent_count; i++) {
        const struct hf_extent *extent = &image->index.extents[i];
        needed[extent->layer] = (extent->first_page + extent->pages) * HF_PAGE;
    }
    for (uint32_t i = 0; i < request->layer_count; i++) {
        int fd = open(request->layers[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0) return fail_errno(f, "open a layer");
        struct stat info = {0};
        bool known = fstat(fd, &info) == 0;
        image->layers[i] = (struct layer){fd, info.st_dev, info.st_ino};
        image->layer_count = i + 1;
        if (!known) return fail_errno(f, "stat a layer");
        if (!S_ISREG(info.st_mode)) return fail(f, "layer", "layer %u is not a regular file", i);
        if ((uint64_t)info.st_size < needed[i])
            return fail(f, "layer", "layer %u has %lld bytes, the index needs %llu", i, (long long)info.st_size,
                        (unsigned long long)needed[i]);
    }
    return true;
}

static int larger_first(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Turns the smallest mapped pieces into copied ones until HF_MAX_MAPPINGS are left. */
static bool limit_mappings(struct image *image, size_t mapped, struct failure *f) {
    if (mapped <= HF_MAX_MAPPINGS) return true;
    uint32_t *sizes = malloc(mapped * sizeof *sizes);
    if (sizes == NULL) return fail_errno(f, "allocate the plan");
    size_t count = 0;
    for (size_t i = 0; i < image->piece_count; i++)
        if (image->pieces[i].mapped) sizes[count++] = image->pieces[i].pages;
    qsort(sizes, count, sizeof *sizes, larger_first);
    uint32_t smallest = sizes[HF_MAX_MAPPINGS - 1];
    size_t room = 0; /* for pieces of exactly that size */
    while (room < HF_MAX_MAPPINGS && sizes[HF_MAX_MAPPINGS - 1 - room] == smallest) room++;
    free(sizes);
    for (size_t i = 0; i < image->piece_count; i++) {
        struct piece *piece = &image->pieces[i];
        if (!piece->mapped || piece->pages > smallest) continue;
        if (piece->pages == smallest && room > 0) room--;
        else piece->mapped = false;
    }
    return true;
}

static bool plan(struct image *image, uint64_t eager, struct failure *f) {
    const struct ram_index *index = &image->index;
    /* The eager budget ends inside one extent at most and splits it. */
    image->pieces = malloc(((size_t)index->extent_count + 1) * sizeof *image->pieces);
    if (image->pieces == NULL) return fail_errno(f, "allocate the plan");
    uint64_t crc_at = 0;
    size_t mapped = 0;
    for (uint32_t i = 0; i < index->extent_count; i++) {
        const struct hf_extent *extent = &index->extents[i];
        struct piece rest = {extent->first_page, crc_at, extent->pages, extent->layer, true};
        crc_at += extent->pages;
        bool small = extent->pages < HF_MIN_MAPPED_PAGES;
        if (!small && eager > 0 && eager < rest.pages) {
            struct piece head = rest;
            head.pages = (uint32_t)eager;
            head.mapped = false;
            image->pieces[image->piece_count++] = head;
            rest.first_page += eager;
            rest.crc_at += eager;
            rest.pages -= (uint32_t)eager;
            eager = 0;
        } else if (!small && eager > 0) {
            eager -= rest.pages;
            rest.mapped = false;
        }
        if (rest.pages < HF_MIN_MAPPED_PAGES) rest.mapped = false;
        mapped += rest.mapped;
        image->pieces[image->piece_count++] = rest;
    }
    return limit_mappings(image, mapped, f);
}

static bool copy_piece(const struct image *image, const struct piece *piece, const struct ram *ram,
                       struct failure *f) {
    for (uint32_t done = 0; done < piece->pages;) {
        uint32_t count = piece->pages - done < HF_CHUNK_PAGES ? piece->pages - done : HF_CHUNK_PAGES;
        uint64_t first = piece->first_page + done;
        uint8_t *to = ram->base + first * HF_PAGE;
        size_t length = (size_t)count * HF_PAGE;
        for (size_t got = 0; got < length;) {
            ssize_t part = pread(image->layers[piece->layer].fd, to + got, length - got, (off_t)(first * HF_PAGE + got));
            if (part < 0 && errno == EINTR) continue;
            if (part < 0) return fail_errno(f, "read a layer");
            if (part == 0) return fail(f, "layer", "layer %u shrank", piece->layer);
            got += (size_t)part;
        }
        uint32_t bad;
        if (!verify_pages(to, image->index.crcs + piece->crc_at + done, count, &bad))
            return fail(f, "corrupt", "page=%llu", (unsigned long long)(first + bad));
        done += count;
    }
    return true;
}

static bool map_piece(const struct image *image, const struct piece *piece, const struct ram *ram,
                      struct failure *f) {
    off_t offset = (off_t)(piece->first_page * HF_PAGE);
    long address = syscall(SYS_mmap, ram->base + offset, (size_t)piece->pages * HF_PAGE, ram->prot,
                           MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, image->layers[piece->layer].fd, offset);
    return address != -1 || fail_errno(f, "map a layer");
}

static bool fill(const struct image *image, const struct ram *ram, struct load_result *out, struct failure *f) {
    for (size_t i = 0; i < image->piece_count; i++) {
        const struct piece *piece = &image->pieces[i];
        if (piece->mapped ? !map_piece(image, piece, ram, f) : !copy_piece(image, piece, ram, f)) return false;
        if (piece->mapped) {
            out->mapped_pages += piece->pages;
            out->mappings++;
        } else {
            out->copied_pages += piece->pages;
        }
    }
    return true;
}

static bool verify_first(struct image *image, uint64_t budget, struct failure *f) {
    uint8_t *scratch = malloc(HF_CHUNK_PAGES * HF_PAGE);
    if (scratch == NULL) return fail_errno(f, "allocate the verification buffer");
    uint64_t page = 0;
    enum verify_outcome outcome = verify_step(image, &image->cursor, budget, scratch, &image->verified, &page);
    free(scratch);
    image->complete = outcome == VERIFY_DONE;
    if (outcome == VERIFY_CORRUPT) return fail(f, "corrupt", "page=%llu", (unsigned long long)page);
    return true;
}

/* What an earlier LOAD or anything else left in the RAM must not show through. */
static bool make_pristine(const struct ram *ram, bool was_loaded, struct failure *f) {
    struct runs dirty;
    if (was_loaded) return ram_reset(ram, f);
    if (!dirty_scan(ram, &dirty, f)) return false;
    uint64_t pages = dirty.pages;
    runs_free(&dirty);
    return pages == 0 || ram_reset(ram, f);
}

static bool lay_over(struct image *image, const struct load_request *request, const struct ram *ram,
                     struct load_result *out, struct failure *f) {
    if (!fill(image, ram, out, f)) return false;
    image->verified = out->copied_pages;
    uint64_t budget = request->verify_pages > image->verified ? request->verify_pages - image->verified : 0;
    if (!verify_first(image, budget, f)) return false;
    out->verified_pages = image->verified;
    return true;
}

bool image_load(struct session *session, const struct load_request *request, struct load_result *out,
                struct failure *f) {
    struct ram ram;
    if (!ram_require_private(&ram, f)) return false;
    bool touched = session->image != NULL;
    session_forget(session);
    *out = (struct load_result){0};
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) return fail_errno(f, "allocate the image");
    bool ok = index_read(request->index, ram.bytes, request->layer_count, &image->index, f) &&
              open_layers(request, image, f) && plan(image, request->eager_pages, f) &&
              make_pristine(&ram, touched, f);
    if (ok) {
        touched = true;
        ok = lay_over(image, request, &ram, out, f);
    }
    if (ok) {
        session->image = image;
        session->generation = ram.generation;
        return true;
    }
    image_free(image);
    struct failure ignored;
    if (touched && !ram_reset(&ram, &ignored)) return fail(f, "state", "the RAM is undefined: end this process");
    return false;
}

void image_continue(const struct image *image) {
    verifier_start(image);
    uint64_t left = HF_PREFETCH_BYTES;
    for (size_t i = 0; i < image->piece_count && left > 0; i++) {
        const struct piece *piece = &image->pieces[i];
        if (!piece->mapped) continue;
        uint64_t length = (uint64_t)piece->pages * HF_PAGE;
        if (length > left) length = left;
        posix_fadvise(image->layers[piece->layer].fd, (off_t)(piece->first_page * HF_PAGE), (off_t)length,
                      POSIX_FADV_WILLNEED);
        left -= length;
    }
}
