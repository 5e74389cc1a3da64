/* sample/weight.h - the mathematics of sampling by bytes: gaps and chances, without libm.
 * Units:   bytes.
 * Threads: any. Context: inside malloc. Allocates: never. Errors: none.
 */
#ifndef XS_SAMPLE_WEIGHT_H
#define XS_SAMPLE_WEIGHT_H

#include "base/compiler.h"

/* The natural logarithm of x > 0, and 1 - e^-x for x >= 0; both to 1e-12 of the value. */
double xs_log_of(double x);
double xs_one_less_exp(double x);

/* The square root, 0 of what is below. */
double xs_root_of(double x);

/* A random number for each `n`: the same for the same seed. */
uint64_t xs_random_at(uint64_t seed, uint64_t n);

/* Bytes to the next sample: exponentially distributed, at least 0. */
int64_t xs_gap_of(uint64_t random, uint64_t mean_bytes);

/* How likely a block of `size` bytes is to be sampled. */
double xs_chance_of(uint64_t size, uint64_t mean_bytes);

#endif
