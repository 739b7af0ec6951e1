/* The unix socket: one connection at a time, one line in, one line out, and EVENT lines in between. */
#include "ramshim.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A client that does not read its answers loses the connection. */
#define SEND_TIMEOUT_S 10

static pthread_mutex_t send_lock = PTHREAD_MUTEX_INITIALIZER;
static int connection = -1;
static struct session session;

static void send_line(const char *line, size_t length, int flags) {
    pthread_mutex_lock(&send_lock);
    while (connection >= 0 && length > 0) {
        ssize_t sent = send(connection, line, length, MSG_NOSIGNAL | flags);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) {
            /* Half a line cannot be taken back: the client has to connect again. */
            shutdown(connection, SHUT_RDWR);
            break;
        }
        line += sent;
        length -= (size_t)sent;
    }
    pthread_mutex_unlock(&send_lock);
}

void server_event(const char *json) {
    char line[256];
    int length = snprintf(line, sizeof line, "EVENT %s\n", json);
    send_line(line, (size_t)length, MSG_DONTWAIT);
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

typedef unsigned long long llu;

static bool run_save(const struct request *request, char *out, size_t size, struct failure *f) {
    struct save_result r = {0};
    uint64_t start = now_us();
    if (!image_save(&session, &request->save, &r, f)) return false;
    snprintf(out, size,
             "{\"dirtyPages\":%llu,\"writtenBytes\":%llu,\"totalPages\":%llu,\"indexBytes\":%llu,\"us\":%llu}",
             (llu)r.dirty_pages, (llu)r.written_bytes, (llu)r.total_pages, (llu)r.index_bytes,
             (llu)(now_us() - start));
    return true;
}

static bool run_load(const struct request *request, char *out, size_t size, struct failure *f) {
    struct load_result r = {0};
    uint64_t start = now_us();
    if (!image_load(&session, &request->load, &r, f)) return false;
    snprintf(out, size,
             "{\"copiedPages\":%llu,\"mappedPages\":%llu,\"mappings\":%llu,\"verifiedPages\":%llu,\"us\":%llu}",
             (llu)r.copied_pages, (llu)r.mapped_pages, (llu)r.mappings, (llu)r.verified_pages,
             (llu)(now_us() - start));
    return true;
}

static bool run_status(char *out, size_t size) {
    struct ram ram = ram_get();
    const struct image *image = session.image;
    if (image != NULL && session.generation != ram.generation) image = NULL;
    bool writable = ram.fd >= 0 && (fcntl(ram.fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
    struct verify_status verify = verifier_status();
    snprintf(out, size,
             "{\"version\":1,\"mapped\":%s,\"shared\":%s,\"writable\":%s,\"ramBytes\":%llu,\"loadedPages\":%llu,"
             "\"layers\":%u,\"verify\":\"%s\",\"verifiedPages\":%llu,\"corruptPage\":%lld,\"scan\":\"%s\","
             "\"crc\":\"%s\"}",
             ram.base ? "true" : "false", (ram.flags & MAP_TYPE) == MAP_SHARED ? "true" : "false",
             writable ? "true" : "false", (llu)ram.bytes, (llu)(image ? image->index.page_count : 0),
             image ? image->layer_count : 0, verify.state, (llu)verify.verified,
             strcmp(verify.state, "corrupt") == 0 ? (long long)verify.corrupt_page : -1, dirty_method(),
             crc32c_name());
    return true;
}

static bool run_dirty(char *out, size_t size, struct failure *f) {
    struct ram ram;
    struct runs runs;
    uint64_t start = now_us();
    if (!ram_require_private(&ram, f) || !dirty_scan(&ram, &runs, f)) return false;
    snprintf(out, size, "{\"dirtyPages\":%llu,\"runs\":%zu,\"us\":%llu}", (llu)runs.pages, runs.count,
             (llu)(now_us() - start));
    runs_free(&runs);
    return true;
}

static bool run(const struct request *request, char *out, size_t size, struct failure *f) {
    switch (request->verb) {
    case VERB_SAVE: return run_save(request, out, size, f);
    case VERB_LOAD: return run_load(request, out, size, f);
    case VERB_STATUS: return run_status(out, size);
    case VERB_DIRTY: return run_dirty(out, size, f);
    case VERB_RESET: snprintf(out, size, "{}"); return session_reset(&session, f);
    }
    return fail(f, "usage", "unknown command");
}

static void answer(char *line, size_t length) {
    static struct request request; /* too large for the stack of a thread */
    char json[512];
    char reply[640];
    struct failure f = {0};
    bool ok = request_parse(line, length, &request, &f) && run(&request, json, sizeof json, &f);
    int written = ok ? snprintf(reply, sizeof reply, "OK %s\n", json)
                     : snprintf(reply, sizeof reply, "ERR %s %s\n", f.code, f.message);
    send_line(reply, (size_t)written, 0);
    if (ok && request.verb == VERB_LOAD) image_continue(session.image);
}

static void serve(int fd) {
    static char buffer[HF_MAX_LINE];
    size_t held = 0;
    for (;;) {
        ssize_t got = recv(fd, buffer + held, sizeof buffer - held, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        held += (size_t)got;
        char *feed;
        size_t start = 0;
        while ((feed = memchr(buffer + start, '\n', held - start)) != NULL) {
            *feed = '\0';
            answer(buffer + start, (size_t)(feed - (buffer + start)));
            start = (size_t)(feed - buffer) + 1;
        }
        memmove(buffer, buffer + start, held - start);
        held -= start;
        if (held == sizeof buffer) {
            send_line("ERR usage the line is too long\n", 31, 0);
            return;
        }
    }
}

static void *server(void *argument) {
    int listener = *(int *)argument;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            /* Out of descriptors or memory, say: try again, but not in a tight loop. */
            struct timespec pause = {0, 10000000};
            nanosleep(&pause, NULL);
            continue;
        }
        struct timeval limit = {SEND_TIMEOUT_S, 0};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        pthread_mutex_lock(&send_lock);
        connection = fd;
        pthread_mutex_unlock(&send_lock);
        serve(fd);
        pthread_mutex_lock(&send_lock);
        connection = -1;
        close(fd);
        pthread_mutex_unlock(&send_lock);
    }
    return NULL;
}

/* A socket's name has room for 107 bytes: a longer one is reached through a descriptor of its directory. */
static bool socket_address(const char *path, struct sockaddr_un *out, int *directory, struct failure *f) {
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    *directory = -1;
    if (strlen(path) < sizeof out->sun_path) {
        memcpy(out->sun_path, path, strlen(path) + 1);
        return true;
    }
    char copy[HF_MAX_PATH];
    const char *name = strrchr(path, '/');
    snprintf(copy, sizeof copy, "%s", path);
    *directory = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*directory < 0) return fail_errno(f, "open the directory of the socket");
    int length = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", *directory, name ? name + 1 : path);
    if ((size_t)length >= sizeof out->sun_path) return fail(f, "usage", "the name of the socket is too long");
    return true;
}

bool server_start(const char *path, struct failure *f) {
    static int listener;
    struct sockaddr_un address;
    int directory;
    struct stat info;
    if (!socket_address(path, &address, &directory, f)) return false;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) return fail_errno(f, "make the socket");
    if (lstat(path, &info) == 0 && S_ISSOCK(info.st_mode)) unlink(path);
    mode_t mask = umask(0177); /* before main: there is no other thread yet */
    int bound = bind(listener, (struct sockaddr *)&address, sizeof address);
    umask(mask);
    if (bound < 0 || listen(listener, 4) < 0) return fail_errno(f, "listen on the socket");
    if (directory >= 0) close(directory);
    pthread_t thread;
    errno = pthread_create(&thread, NULL, server, &listener);
    if (errno != 0) return fail_errno(f, "start the server thread");
    pthread_setname_np(thread, "ram-server");
    return true;
}
