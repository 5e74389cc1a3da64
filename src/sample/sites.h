/* sample/sites.h - where blocks were allocated: the tables of the record that hold it.
 *
 * A site is a stack of return addresses, each as module and offset so that it means the same when
 * the library has moved or is gone. What is known of a site are sums over the sampled blocks, each
 * weighted by the inverse of the chance that it had to be sampled, which makes them unbiased
 * estimates; `variance` is the estimate of theirs (Horvitz and Thompson, with Poisson sampling:
 * the sum of (bytes / chance)^2 * (1 - chance)).
 *
 * The peak of a kind is the largest sum over its sites so far; each site's share in it is noted
 * when the site changes for the first time afterwards: `noted` is the number of the peak that it
 * has noted last.
 * Units:   bytes.
 * Threads: written under the sampler's lock; readers take what they find, each word whole.
 * Context: shared with other processes: a reader trusts nothing (sample/read.h).
 */
#ifndef XS_SAMPLE_SITES_H
#define XS_SAMPLE_SITES_H

#include <stdatomic.h>

#include "base/compiler.h"

#define XS_SITE_FRAMES  48
#define XS_SITES        4096                /* a power of two */
#define XS_SITE_KINDS   17                  /* CPU memory, devices, and */
#define XS_SITE_PINNED  (XS_SITE_KINDS - 1) /* host memory that the CUDA driver gave */
#define XS_SITE_MODULES 1023

/* Number of the module from 1 on, 0 if none is known; offset in it. One less than the address that
 * is returned to, so that it lies in the call. */
#define XS_FRAME(module, offset)                                                                   \
    ((uint64_t)(module) << 48 | ((uint64_t)(offset) & (((uint64_t)1 << 48) - 1)))
#define XS_FRAME_MODULE(f) ((uint32_t)((f) >> 48))
#define XS_FRAME_OFFSET(f) ((f) & (((uint64_t)1 << 48) - 1))

struct xs_site_sum {
    double bytes;
    double variance; /* of bytes */
    double blocks;
    uint64_t samples;
};

struct xs_site {
    uint64_t hash; /* 0: none; written last */
    uint32_t kind; /* 0: CPU memory; XS_SITE_PINNED; else a device's number and 1 */
    uint32_t depth;
    struct xs_site_sum live;
    struct xs_site_sum peak;
    struct xs_site_sum total;
    uint64_t noted;
    uint64_t frame[XS_SITE_FRAMES];
};

struct xs_site_peak {
    double live;
    double peak;
    uint64_t number; /* of peaks so far */
};

enum xs_unwinder { XS_UNWIND_OFF, XS_UNWIND_FP, XS_UNWIND_LIBUNWIND };

#define XS_SITES_MAGIC 0x31657369u

struct xs_sites {
    uint32_t magic;
    uint32_t capacity;
    uint64_t mean_bytes; /* 1: every block */
    uint32_t unwinder;
    uint32_t used;
    uint64_t samples;
    uint64_t dropped; /* blocks that were to be sampled and could not be */
    struct xs_site_peak kind[XS_SITE_KINDS];
    struct xs_site rest; /* of what found no room */
    struct xs_site site[XS_SITES];
};

/* What a site has now, and what it had when its kind was at its peak. */
XS_INLINE const struct xs_site_sum *xs_site_peak_of(const struct xs_sites *t,
                                                    const struct xs_site *s)
{
    return s->noted < t->kind[s->kind].number ? &s->live : &s->peak;
}

/* An object that was loaded when one of its addresses was seen. */
struct xs_site_module {
    uint64_t start; /* where it lay last */
    uint64_t end;
    uint64_t bias; /* address less the address in the file's own terms */
    uint32_t build_id_bytes;
    uint8_t build_id[32];
    char path[212];
};

struct xs_site_modules {
    _Atomic uint32_t count;
    uint32_t unused;
    struct xs_site_module module[XS_SITE_MODULES];
};

#endif
