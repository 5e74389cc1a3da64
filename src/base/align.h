/* base/align.h - powers of two, rounding, and multiplication that notices overflow.
 * Units:   bytes, unless the caller says otherwise.
 * Context: anywhere; pure functions.
 */
#ifndef XS_BASE_ALIGN_H
#define XS_BASE_ALIGN_H

#include "base/compiler.h"

XS_INLINE bool xs_is_pow2(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* `align` is a power of two. Wraps on overflow; callers bound `n` first. */
XS_INLINE size_t xs_align_up(size_t n, size_t align)
{
    return (n + align - 1) & ~(align - 1);
}

XS_INLINE size_t xs_align_down(size_t n, size_t align)
{
    return n & ~(align - 1);
}

/* The smallest power of two >= n; n must be in [1, 2^63]. */
XS_INLINE size_t xs_pow2_up(size_t n)
{
    return n <= 1 ? 1 : (size_t)1 << (64 - __builtin_clzll((unsigned long long)n - 1));
}

/* True, and *out = a * b, when the product fits. */
XS_INLINE bool xs_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

#endif
