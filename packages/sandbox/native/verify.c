/*
 * Checks pages against the index's CRCs: the first ones before LOAD answers, the rest on a thread of low priority.
 *
 * It reads the layer files, not the mapping: the guest may have changed its private copies by then, and a page that
 * nobody touched should not be pulled into the guest's memory just to be checked.
 */
#include "ramshim.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static const struct image *work; /* NULL while idle */
static struct verify_cursor work_cursor;
static struct verify_status status = {.state = "none"};
static atomic_bool stopping;
static sem_t lowered;

bool verify_pages(const uint8_t *bytes, const uint32_t *crcs, uint32_t pages, uint32_t *bad) {
    uint32_t found[HF_CHUNK_PAGES];
    for (uint32_t done = 0; done < pages;) {
        uint32_t count = pages - done < HF_CHUNK_PAGES ? pages - done : HF_CHUNK_PAGES;
        crc32c_pages(bytes + (size_t)done * HF_PAGE, count, found);
        for (uint32_t i = 0; i < count; i++) {
            if (found[i] == crcs[done + i]) continue;
            *bad = done + i;
            return false;
        }
        done += count;
    }
    return true;
}

/* A page that cannot be read counts as corrupt: neither can be had back. */
static bool check_chunk(const struct image *image, const struct piece *piece, uint32_t at, uint32_t count,
                        uint8_t *scratch, uint64_t *bad_page) {
    size_t length = (size_t)count * HF_PAGE;
    size_t got = 0;
    while (got < length) {
        off_t offset = (off_t)((piece->first_page + at) * HF_PAGE + got);
        ssize_t part = pread(image->layers[piece->layer].fd, scratch + got, length - got, offset);
        if (part < 0 && errno == EINTR) continue;
        if (part <= 0) break;
        got += (size_t)part;
    }
    uint32_t bad = 0;
    uint32_t whole = (uint32_t)(got / HF_PAGE);
    bool ok = verify_pages(scratch, image->index.crcs + piece->crc_at + at, whole, &bad);
    if (ok && whole == count) return true;
    *bad_page = piece->first_page + at + (ok ? whole : bad);
    return false;
}

enum verify_outcome verify_step(const struct image *image, struct verify_cursor *cursor, uint64_t budget,
                                uint8_t *scratch, uint64_t *verified, uint64_t *page) {
    while (cursor->piece < image->piece_count) {
        const struct piece *piece = &image->pieces[cursor->piece];
        if (!piece->mapped || cursor->page >= piece->pages) {
            *cursor = (struct verify_cursor){cursor->piece + 1, 0};
            continue;
        }
        if (budget == 0) return VERIFY_MORE;
        uint32_t count = piece->pages - cursor->page;
        if (count > HF_CHUNK_PAGES) count = HF_CHUNK_PAGES;
        if (count > budget) count = (uint32_t)budget;
        if (!check_chunk(image, piece, cursor->page, count, scratch, page)) return VERIFY_CORRUPT;
        cursor->page += count;
        budget -= count;
        *verified += count;
    }
    return VERIFY_DONE;
}

/* STATUS knows before the event is sent, and the event is sent before verifier_stop() returns. */
static void finish(const char *state, const char *event, uint64_t number) {
    char line[64];
    snprintf(line, sizeof line, "{\"%s\":%llu}", event, (unsigned long long)number);
    pthread_mutex_lock(&lock);
    status.state = state;
    pthread_mutex_unlock(&lock);
    server_event(line);
    pthread_mutex_lock(&lock);
    work = NULL;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void verify_rest(const struct image *image, struct verify_cursor cursor, uint64_t verified,
                        uint8_t *scratch) {
    uint64_t page = 0;
    enum verify_outcome outcome = VERIFY_MORE;
    while (outcome == VERIFY_MORE && !atomic_load(&stopping)) {
        outcome = verify_step(image, &cursor, HF_CHUNK_PAGES, scratch, &verified, &page);
        pthread_mutex_lock(&lock);
        status.verified = verified;
        if (outcome == VERIFY_CORRUPT) status.corrupt_page = page;
        pthread_mutex_unlock(&lock);
    }
    if (outcome == VERIFY_DONE) finish("done", "verified", verified);
    else if (outcome == VERIFY_CORRUPT) finish("corrupt", "corrupt", page);
    else finish("stopped", "stopped", verified);
}

static void *verifier(void *scratch) {
    /* Niceness is a thread's on Linux. Best effort, lowest level, for the disk. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    syscall(SYS_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, 2 << 13 | 7);
    sem_post(&lowered);
    for (;;) {
        pthread_mutex_lock(&lock);
        while (work == NULL) pthread_cond_wait(&changed, &lock);
        const struct image *image = work;
        struct verify_cursor cursor = work_cursor;
        uint64_t verified = status.verified;
        pthread_mutex_unlock(&lock);
        verify_rest(image, cursor, verified, scratch);
    }
    return NULL;
}

bool verifier_init(void) {
    pthread_t thread;
    uint8_t *scratch = malloc(HF_CHUNK_PAGES * HF_PAGE);
    if (scratch == NULL || sem_init(&lowered, 0, 0) != 0) return false;
    if (pthread_create(&thread, NULL, verifier, scratch) != 0) return false;
    while (sem_wait(&lowered) != 0) continue;
    return pthread_setname_np(thread, "ram-verify") == 0;
}

void verifier_start(const struct image *image) {
    pthread_mutex_lock(&lock);
    atomic_store(&stopping, false);
    work = image->complete ? NULL : image;
    work_cursor = image->cursor;
    status = (struct verify_status){.state = image->complete ? "done" : "running", .verified = image->verified};
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void verifier_forget(void) {
    verifier_stop();
    pthread_mutex_lock(&lock);
    status = (struct verify_status){.state = "none"};
    pthread_mutex_unlock(&lock);
}

void verifier_stop(void) {
    atomic_store(&stopping, true);
    pthread_mutex_lock(&lock);
    while (work != NULL) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

struct verify_status verifier_status(void) {
    pthread_mutex_lock(&lock);
    struct verify_status copy = status;
    pthread_mutex_unlock(&lock);
    return copy;
}
