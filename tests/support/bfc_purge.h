/* What the core does with memory that is free for long, at one go: it takes a few chunks out, gives
 * back the memory behind them, and puts them back. */
#ifndef XS_TESTS_BFC_PURGE_H
#define XS_TESTS_BFC_PURGE_H

#include "core/bfc.h"

/* `system` gives back a range, or does not; the bytes that went. */
static inline size_t bfc_purge(struct xs_bfc *b, uint64_t until, uint64_t now,
                               bool (*system)(void *p, size_t size))
{
    enum { AT_ONCE = 3 };
    struct xs_bfc_range out[AT_ONCE];
    size_t bytes = 0;
    unsigned n;

    do {
        n = xs_bfc_take_old(b, 0, until, out, AT_ONCE);
        for (unsigned i = 0; i < n; i++) {
            bool went = system(out[i].p, out[i].size);
            bytes += went ? out[i].size : 0;
            xs_bfc_put_back(b, out[i].chunk, went, now);
        }
    } while (n == AT_ONCE);
    return bytes;
}

#endif
