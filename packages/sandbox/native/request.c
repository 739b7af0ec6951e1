/*
 * One line of the protocol: `VERB key=value …`, separated by single spaces, each key once. A value is
 * percent-encoded where it holds a byte up to 0x20, a percent sign, a comma or 0x7f.
 */
#include "ramshim.h"

#include <string.h>

#define MAX_NUMBER 1000000000000000ull

static bool bad(struct failure *f, const char *why, const char *key) { return fail(f, "usage", "%s: %s", why, key); }

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Decodes in place; the result is never longer. */
static bool decode_path(char *value, const char *key, struct failure *f) {
    char *to = value;
    for (const char *from = value; *from != '\0'; from++, to++) {
        *to = *from;
        if (*from != '%') continue;
        int high = hex(from[1]);
        int low = high < 0 ? -1 : hex(from[2]);
        if (low < 0 || (high == 0 && low == 0)) return bad(f, "bad percent-encoding", key);
        *to = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    /* Room for the suffix of the temporary name. */
    if (value[0] == '\0' || (size_t)(to - value) > HF_MAX_PATH - 16) return bad(f, "path is empty or too long", key);
    return true;
}

static bool parse_path(char *value, const char *key, char *out, struct failure *f) {
    if (strchr(value, ',') != NULL) return bad(f, "one path expected", key);
    if (!decode_path(value, key, f)) return false;
    memcpy(out, value, strlen(value) + 1);
    return true;
}

static bool parse_layers(char *value, struct load_request *out, struct failure *f) {
    for (char *at = value; at != NULL;) {
        char *path = strsep(&at, ",");
        if (out->layer_count == HF_MAX_LAYERS) return bad(f, "too many layers", "layers");
        if (!decode_path(path, "layers", f)) return false;
        out->layers[out->layer_count++] = path;
    }
    return true;
}

static bool parse_number(const char *value, const char *key, uint64_t max, uint64_t *out, struct failure *f) {
    uint64_t number = 0;
    if (*value == '\0') return bad(f, "a number is missing", key);
    for (; *value != '\0'; value++) {
        if (*value < '0' || *value > '9') return bad(f, "not a number", key);
        number = number * 10 + (uint64_t)(*value - '0');
        if (number > max) return bad(f, "the number is too large", key);
    }
    *out = number;
    return true;
}

static const char *const save_keys[] = {"index", "data", "layer", "sync", NULL};
static const char *const load_keys[] = {"index", "layers", "eager", "verify", NULL};
static const char *const no_keys[] = {NULL};

static bool parse_save(unsigned key, char *value, struct save_request *out, struct failure *f) {
    uint64_t number = 0;
    if (key == 0) return parse_path(value, "index", out->index, f);
    if (key == 1) return parse_path(value, "data", out->data, f);
    if (!parse_number(value, save_keys[key], key == 2 ? HF_MAX_LAYERS - 1 : 1, &number, f)) return false;
    if (key == 2) out->layer = (uint32_t)number;
    else out->sync = number == 1;
    return true;
}

static bool parse_load(unsigned key, char *value, struct load_request *out, struct failure *f) {
    if (key == 0) return parse_path(value, "index", out->index, f);
    if (key == 1) return parse_layers(value, out, f);
    return parse_number(value, load_keys[key], MAX_NUMBER, key == 2 ? &out->eager_pages : &out->verify_pages, f);
}

static bool parse_verb(const char *verb, struct request *out, const char *const **keys, struct failure *f) {
    static const struct {
        const char *name;
        enum verb verb;
        const char *const *keys;
    } verbs[] = {{"SAVE", VERB_SAVE, save_keys},
                 {"LOAD", VERB_LOAD, load_keys},
                 {"STATUS", VERB_STATUS, no_keys},
                 {"DIRTY", VERB_DIRTY, no_keys},
                 {"RESET", VERB_RESET, no_keys}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verb, verbs[i].name) != 0) continue;
        out->verb = verbs[i].verb;
        *keys = verbs[i].keys;
        return true;
    }
    return fail(f, "usage", "unknown command");
}

static bool parse_pair(char *pair, const char *const *keys, unsigned *seen, struct request *out, struct failure *f) {
    char *value = strchr(pair, '=');
    if (value == NULL) return fail(f, "usage", "key=value expected");
    *value++ = '\0';
    for (unsigned key = 0; keys[key] != NULL; key++) {
        if (strcmp(pair, keys[key]) != 0) continue;
        if (*seen & 1u << key) return bad(f, "given twice", keys[key]);
        *seen |= 1u << key;
        return out->verb == VERB_SAVE ? parse_save(key, value, &out->save, f) : parse_load(key, value, &out->load, f);
    }
    return fail(f, "usage", "unknown key");
}

bool request_parse(char *line, size_t length, struct request *out, struct failure *f) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) return fail(f, "usage", "control character");
    const char *const *keys = no_keys;
    char *rest = line;
    if (!parse_verb(strsep(&rest, " "), out, &keys, f)) return false;
    unsigned seen = 0;
    while (rest != NULL)
        if (!parse_pair(strsep(&rest, " "), keys, &seen, out, f)) return false;
    for (unsigned key = 0; keys[key] != NULL; key++)
        if (!(seen & 1u << key)) return bad(f, "missing", keys[key]);
    return true;
}
