/* Checks both CRC-32C implementations against the vectors of RFC 3720, appendix B.4, and against each other. */
#include "../ramshim.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void expect(const char *what, uint32_t got, uint32_t wanted) {
    if (got == wanted) return;
    printf("%s: %08x, expected %08x\n", what, got, wanted);
    failures++;
}

static void vector(const char *what, const void *bytes, size_t length, uint32_t wanted) {
    expect(what, crc32c(0, bytes, length), wanted);
    expect(what, crc32c_table(0, bytes, length), wanted);
}

int main(void) {
    static uint8_t pages[7 * HF_PAGE];
    uint8_t bytes[32];
    uint32_t crcs[7];
    crc32c_init();
    memset(bytes, 0, sizeof bytes);
    vector("32 zeros", bytes, 32, 0x8A9136AA);
    memset(bytes, 0xFF, sizeof bytes);
    vector("32 ones", bytes, 32, 0x62A8AB43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    vector("ascending", bytes, 32, 0x46DD794E);
    vector("123456789", "123456789", 9, 0xE3069283);
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof pages; i++) {
        state = state * 1664525 + 1013904223;
        pages[i] = (uint8_t)(state >> 24);
    }
    crc32c_pages(pages, 7, crcs);
    for (int i = 0; i < 7; i++) expect("page", crcs[i], crc32c_table(0, pages + i * HF_PAGE, HF_PAGE));
    expect("in two parts", crc32c(crc32c(0, pages, 1001), pages + 1001, 5000), crc32c_table(0, pages, 6001));
    printf("%s: %d failures\n", crc32c_name(), failures);
    return failures > 0;
}
