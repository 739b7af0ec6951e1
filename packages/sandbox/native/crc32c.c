/*
 * CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as in iSCSI (RFC 3720, appendix B.4).
 *
 * SSE4.2's instruction takes 3 cycles but one can start in each, so whole pages are hashed three at a time.
 */
#include "ramshim.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table[8][256];
static uint32_t (*update)(uint32_t, const void *, size_t) = crc32c_table;
static void (*update_pages)(const uint8_t *, size_t, uint32_t *);
static const char *name = "table";

uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    crc = ~crc;
    for (; length >= 8; length -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= crc;
        crc = table[7][word & 255] ^ table[6][word >> 8 & 255] ^ table[5][word >> 16 & 255] ^
              table[4][word >> 24 & 255] ^ table[3][word >> 32 & 255] ^ table[2][word >> 40 & 255] ^
              table[1][word >> 48 & 255] ^ table[0][word >> 56];
    }
    for (; length > 0; length--) crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
}

static void pages_table(const uint8_t *bytes, size_t pages, uint32_t *out) {
    for (size_t i = 0; i < pages; i++) out[i] = crc32c_table(0, bytes + i * HF_PAGE, HF_PAGE);
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t update_sse42(uint32_t crc, const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    uint64_t state = (uint32_t)~crc;
    for (; length >= 8; length -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        state = _mm_crc32_u64(state, word);
    }
    uint32_t tail = (uint32_t)state;
    for (; length > 0; length--) tail = _mm_crc32_u8(tail, *p++);
    return ~tail;
}

__attribute__((target("sse4.2"))) static void pages_sse42(const uint8_t *bytes, size_t pages, uint32_t *out) {
    size_t i = 0;
    for (; i + 3 <= pages; i += 3) {
        const uint8_t *p = bytes + i * HF_PAGE;
        uint64_t a = UINT32_MAX, b = UINT32_MAX, c = UINT32_MAX;
        for (size_t at = 0; at < HF_PAGE; at += 8) {
            uint64_t x, y, z;
            memcpy(&x, p + at, 8);
            memcpy(&y, p + HF_PAGE + at, 8);
            memcpy(&z, p + 2 * HF_PAGE + at, 8);
            a = _mm_crc32_u64(a, x);
            b = _mm_crc32_u64(b, y);
            c = _mm_crc32_u64(c, z);
        }
        out[i] = ~(uint32_t)a;
        out[i + 1] = ~(uint32_t)b;
        out[i + 2] = ~(uint32_t)c;
    }
    for (; i < pages; i++) out[i] = update_sse42(0, bytes + i * HF_PAGE, HF_PAGE);
}
#endif

void crc32c_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
        table[0][i] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
        for (int i = 0; i < 256; i++)
            table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 255];
    update_pages = pages_table;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        update = update_sse42;
        update_pages = pages_sse42;
        name = "sse4.2";
    }
#endif
}

const char *crc32c_name(void) { return name; }

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length) { return update(crc, bytes, length); }

void crc32c_pages(const void *bytes, size_t pages, uint32_t *out) { update_pages(bytes, pages, out); }
