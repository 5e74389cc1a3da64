/* tests/fuzz/fuzz.h - what the fuzz targets and the program that replays them share.
 *
 * A target reads an input as a program of operations: whatever the bytes, they mean something. What
 * cannot change within a process, as the options of the heap, is the process's profile.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"

/* ---- a target -------------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const char fuzz_name[];
extern const unsigned fuzz_profiles;      /* at least 1 */
extern const unsigned fuzz_random_inputs; /* that one replay makes for a profile */

/* Before the first input. Without it the variable XS_FUZZ_PROFILE says which, else it is 0. */
void fuzz_set_profile(unsigned profile);
const char *fuzz_profile_name(unsigned profile);

/* Operations that the inputs so far were read as. */
uint64_t fuzz_operations(void);

/* ---- what is wrong --------------------------------------------------------------------------- */

/* clang-format off */
#define FUZZ_FAIL(...)                                                                             \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        abort();                                                                                   \
    } while (0)
/* clang-format on */

#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (XS_UNLIKELY(!(condition)))                                                             \
            FUZZ_FAIL(__VA_ARGS__);                                                                \
    } while (0)

/* ---- bytes ----------------------------------------------------------------------------------- */

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* Zeros follow the end of the input. */
static inline unsigned fuzz_byte(struct fuzz_input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static inline unsigned fuzz_two(struct fuzz_input *in)
{
    unsigned low = fuzz_byte(in);

    return low | fuzz_byte(in) << 8;
}

/* Scrambles: neighbouring numbers give unlike ones (the finalizer of SplitMix64). */
static inline uint64_t fuzz_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

#endif
