/*
 * Shared declarations of holdfast-ramshim.so: see ramshim.c for what it is and why.
 *
 * All of it but the interposed functions runs on two threads: the server thread, which owns the session, and the
 * verifier thread, which only reads what the server thread gave it.
 */
#ifndef HOLDFAST_RAMSHIM_H
#define HOLDFAST_RAMSHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HF_PAGE 4096u
#define HF_MAX_RAM_BYTES (1ull << 40)
#define HF_MAX_LAYERS 64u
#define HF_MAX_LINE 65536u
#define HF_MAX_PATH 4096u
/* Extents shorter than this are copied: a mapping costs more than the faults it saves. */
#define HF_MIN_MAPPED_PAGES 16u
/* Each mapping splits the RAM mapping in two more; the kernel's default limit is 65,530 a process. */
#define HF_MAX_MAPPINGS 16384u
#define HF_PREFETCH_BYTES (64ull << 20)
/* Most bytes read, hashed or written at once: small enough to stay in the processor's cache. */
#define HF_CHUNK_PAGES 64u

/*
 * The index file of a RAM image, little-endian, without padding:
 *   struct hf_index_header
 *   struct hf_extent[extent_count]   sorted by first_page, not overlapping, none empty, all inside ram_bytes
 *   uint32_t[page_count]             CRC-32C of each page, in the order of the extents
 *   uint32_t                         CRC-32C of everything before
 * Page p of the RAM is at offset p * page_size of the data file of its extent's layer; a page in no extent is the
 * template's. A data file is sparse, and reads as zeros where nothing is stored.
 */
struct hf_index_header {
    char magic[8]; /* "HFRAMIX1" */
    uint32_t page_size;
    uint32_t extent_count;
    uint64_t ram_bytes;
    uint64_t page_count; /* the sum of the extents' pages */
};

struct hf_extent {
    uint64_t first_page;
    uint32_t pages;
    uint32_t layer;
};

_Static_assert(sizeof(struct hf_index_header) == 32, "on-disk layout");
_Static_assert(sizeof(struct hf_extent) == 16, "on-disk layout");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the image format is little-endian");

/* ---- failure.c: why a command was refused; becomes `ERR code message` ---- */

struct failure {
    char code[32];
    char message[256];
};
/* Both fill `f` and return false, so that a caller can `return fail(…)`. The second takes its code from errno. */
bool fail(struct failure *f, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool fail_errno(struct failure *f, const char *what);

/* ---- crc32c.c ---- */

/* Picks the implementation for this processor; call once, first. */
void crc32c_init(void);
const char *crc32c_name(void);
/* Continues `crc` (0 to begin) over the bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);
/* One CRC for each of `pages` pages of HF_PAGE bytes. */
void crc32c_pages(const void *bytes, size_t pages, uint32_t *out);
/* The table implementation, for tests and processors without SSE4.2. */
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t length);

/* ---- ram.c: the guest RAM mapping, as the interposed mmap saw it ---- */

struct ram {
    uint8_t *base; /* NULL while nothing is mapped */
    uint64_t bytes;
    int prot;
    int flags;
    int fd; /* our own duplicate of the RAM file */
    off_t offset;
    uint64_t generation; /* grows with each mapping QEMU makes or removes */
};

void ram_configure(const char *path, bool read_only);
bool ram_is_path(const char *path);
bool ram_read_only(void);
/* Called by the interposed functions after the real call succeeded. They keep errno. */
void ram_opened(int fd);
void ram_mapped(void *address, size_t length, int prot, int flags, int fd, off_t offset);
void ram_unmapped(void *address, size_t length);
/* A copy of the current state. */
struct ram ram_get(void);
bool ram_require_private(struct ram *ram, struct failure *f);
/* Maps the RAM file over everything again: drops all private pages and all layer mappings. */
bool ram_reset(const struct ram *ram, struct failure *f);

/* ---- dirty.c: private pages of the RAM mapping ---- */

struct run {
    uint64_t first_page;
    uint64_t pages;
};
struct runs {
    struct run *items; /* sorted, not touching each other */
    size_t count;
    size_t capacity;
    uint64_t pages;
};

/* Opens /proc/self/pagemap; false when it cannot be read. */
bool dirty_init(void);
const char *dirty_method(void);
bool dirty_scan(const struct ram *ram, struct runs *out, struct failure *f);
void runs_free(struct runs *runs);

/* ---- index.c ---- */

struct ram_index {
    uint64_t ram_bytes;
    uint64_t page_count;
    uint32_t extent_count;
    struct hf_extent *extents;
    uint32_t *crcs;
};

/* Reads and checks everything; `layers` is how many layer numbers are allowed. */
bool index_read(const char *path, uint64_t ram_bytes, uint32_t layers, struct ram_index *out, struct failure *f);
/* `base` with `dirty` laid over it as `layer`; `crcs` are those of the dirty pages in order. */
bool index_overlay(const struct ram_index *base, const struct runs *dirty, const uint32_t *crcs, uint32_t layer,
                   struct ram_index *out, struct failure *f);
/* Writes to a temporary name beside `path` and renames; durable on return when `sync`. */
bool index_write(const char *path, const struct ram_index *index, bool sync, uint64_t *bytes, struct failure *f);
void index_free(struct ram_index *index);
/* fsync of the directory that holds `path`. */
bool sync_parent(const char *path, struct failure *f);

/* ---- load.c, save.c, verify.c ---- */

struct layer {
    int fd;
    dev_t device;
    ino_t inode;
};

struct piece {
    uint64_t first_page;
    uint64_t crc_at; /* of its first page in the index's CRCs */
    uint32_t pages;
    uint32_t layer;
    bool mapped;
};

/* Where verification of the mapped pieces goes on. */
struct verify_cursor {
    size_t piece;
    uint32_t page;
};

/* What LOAD put into the RAM; it describes what the layer files hold. */
struct image {
    struct ram_index index;
    uint32_t layer_count;
    struct layer layers[HF_MAX_LAYERS];
    struct piece *pieces;
    size_t piece_count;
    /* How far LOAD got with checking before it answered. */
    struct verify_cursor cursor;
    uint64_t verified;
    bool complete;
};

struct session {
    struct image *image; /* NULL when nothing is loaded */
    uint64_t generation; /* of the RAM mapping it was loaded into */
};

struct save_request {
    char index[HF_MAX_PATH];
    char data[HF_MAX_PATH];
    uint32_t layer;
    bool sync;
};
struct save_result {
    uint64_t dirty_pages;
    uint64_t written_bytes;
    uint64_t total_pages;
    uint64_t index_bytes;
};
struct load_request {
    char index[HF_MAX_PATH];
    char *layers[HF_MAX_LAYERS];
    uint32_t layer_count;
    uint64_t eager_pages;
    uint64_t verify_pages;
};
struct load_result {
    uint64_t copied_pages;
    uint64_t mapped_pages;
    uint64_t mappings;
    uint64_t verified_pages;
};

bool image_save(struct session *session, const struct save_request *request, struct save_result *out,
                struct failure *f);
bool image_load(struct session *session, const struct load_request *request, struct load_result *out,
                struct failure *f);
/* Starts checking the rest and reading what is mapped; may block on a busy disk, so it comes after the answer. */
void image_continue(const struct image *image);
bool session_reset(struct session *session, struct failure *f);
void session_forget(struct session *session);

enum verify_outcome { VERIFY_DONE, VERIFY_MORE, VERIFY_CORRUPT };
/* Checks at most `budget` mapped pages with pread, adds them to `verified`; on VERIFY_CORRUPT `page` says where. */
enum verify_outcome verify_step(const struct image *image, struct verify_cursor *cursor, uint64_t budget,
                                uint8_t *scratch, uint64_t *verified, uint64_t *page);
/* True when `pages` pages at `bytes` have these CRCs; else `bad` is the number of the first that differs. */
bool verify_pages(const uint8_t *bytes, const uint32_t *crcs, uint32_t pages, uint32_t *bad);

struct verify_status {
    const char *state; /* none, running, done, corrupt, stopped */
    uint64_t verified;
    uint64_t corrupt_page;
};
/* Starts the thread and waits until it lowered its own priority: the seccomp filter will forbid that. */
bool verifier_init(void);
/* Checks the rest of `image` in the background. `image` must live until verifier_stop() or the end of the work. */
void verifier_start(const struct image *image);
/* Stops the work and waits until nothing of the image is used any more. */
void verifier_stop(void);
/* The same, and STATUS speaks of no image any more. */
void verifier_forget(void);
struct verify_status verifier_status(void);

/* ---- request.c ---- */

enum verb { VERB_SAVE, VERB_LOAD, VERB_STATUS, VERB_DIRTY, VERB_RESET };
struct request {
    enum verb verb;
    struct save_request save;
    struct load_request load;
};
/* Parses one line in place (without its line feed); the request points into it. */
bool request_parse(char *line, size_t length, struct request *out, struct failure *f);

/* ---- server.c ---- */

/* Listens on `path` and starts the thread. */
bool server_start(const char *path, struct failure *f);
/* Sends one `EVENT` line on the current connection; dropped when there is none or it does not read. */
void server_event(const char *json);

#endif
