#include "core/supply.h"

#include <stdatomic.h>
#include <time.h>

#include "base/align.h"
#include "core/page_map.h"
#include "sys/limits.h"
#include "sys/mem.h"
#include "sys/numa.h"

/* Transparent huge pages are for regions from this size on, which only a heap as large has: a small
 * one would pay for memory that it does not use. */
#define THP_FROM ((size_t)32 << 20)

/* Regions of 64 MiB: 256 GiB of them. */
#define RANGES_MAX 4096

/* What is got at start leaves so much of what is there, for all else. */
#define LEAVE_PART 8

/* Ranges that keep their memory. Written rarely, one writer at a time; `p` last, which is odd for
 * explicit huge pages. */
struct range {
    _Atomic uintptr_t p;
    _Atomic size_t size;
};

XS_BY_HEAD static struct {
    struct xs_supply_options options;
    _Atomic uint64_t charged;
    _Atomic uint64_t charged_peak;
    _Atomic uint64_t refused;
    _Atomic uint64_t explicit_bytes;
    _Atomic uint64_t explicit_refused;
    uint64_t prefault_bytes;
    uint64_t locked_bytes;
    uint64_t prefault_ns;
    _Atomic unsigned kept_count; /* places of `kept` ever used */
} supply;

XS_UNLIKELY_DATA static struct range kept[RANGES_MAX];

void xs_supply_open(const struct xs_supply_options *o)
{
    supply.options = *o;
}

uint64_t xs_supply_limit(void)
{
    return supply.options.limit_bytes != 0 ? supply.options.limit_bytes : UINT64_MAX;
}

/* ---- the limit -------------------------------------------------------------------------- */

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

bool xs_supply_charge(size_t size)
{
    uint64_t limit = supply.options.limit_bytes;
    uint64_t now = atomic_load_explicit(&supply.charged, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&supply.charged_peak, memory_order_relaxed);

    do {
        if (limit != 0 && (size > limit || now > limit - size)) {
            add(&supply.refused, 1);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&supply.charged, &now, now + size,
                                                    memory_order_relaxed, memory_order_relaxed));
    while (now + size > peak &&
           !atomic_compare_exchange_weak_explicit(&supply.charged_peak, &peak, now + size,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    return true;
}

void xs_supply_uncharge(size_t size)
{
    atomic_fetch_sub_explicit(&supply.charged, size, memory_order_relaxed);
}

/* ---- ranges that keep their memory ------------------------------------------------------ */

static bool keep(const void *p, size_t size, bool is_explicit)
{
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        size_t none = 0;
        if (!atomic_compare_exchange_strong_explicit(&kept[i].size, &none, size,
                                                     memory_order_relaxed, memory_order_relaxed))
            continue;
        atomic_store_explicit(&kept[i].p, (uintptr_t)p + is_explicit, memory_order_release);
        unsigned n = atomic_load_explicit(&supply.kept_count, memory_order_relaxed);
        while (n <= i &&
               !atomic_compare_exchange_weak_explicit(&supply.kept_count, &n, i + 1,
                                                      memory_order_release, memory_order_relaxed))
            ;
        return true;
    }
    return false;
}

static struct range *kept_at(const void *p)
{
    unsigned n = atomic_load_explicit(&supply.kept_count, memory_order_acquire);

    for (unsigned i = 0; i < n; i++) {
        uintptr_t base = atomic_load_explicit(&kept[i].p, memory_order_acquire) & ~(uintptr_t)1;
        if (base != 0 &&
            (uintptr_t)p - base < atomic_load_explicit(&kept[i].size, memory_order_relaxed))
            return &kept[i];
    }
    return NULL;
}

bool xs_supply_keeps(const void *p)
{
    return kept_at(p) != NULL;
}

/* True: they were explicit huge pages. */
static bool forget(struct range *r)
{
    bool is_explicit = atomic_load_explicit(&r->p, memory_order_relaxed) & 1;

    atomic_store_explicit(&r->p, 0, memory_order_relaxed);
    atomic_store_explicit(&r->size, 0, memory_order_release);
    return is_explicit;
}

/* ---- regions ---------------------------------------------------------------------------- */

/* Their memory is put behind them at once: the kernel may lack it on these nodes, or in the group
 * that the process is in, and would kill for it at the first touch. */
static void *map_explicit(unsigned node, size_t size, size_t page)
{
    void *p = xs_mem_map_huge(size, page);

    if (p == NULL)
        return NULL;
    xs_numa_place(p, size, node);
    if (xs_mem_fill(p, size) && keep(p, size, true)) {
        add(&supply.explicit_bytes, size);
        return p;
    }
    (void)xs_mem_unmap(p, size);
    return NULL;
}

static bool wants_thp(size_t size, uint64_t total)
{
    switch (supply.options.huge) {
    case XS_HUGE_OFF:
    case XS_HUGE_AUTO:
        return false;
    case XS_HUGE_THP:
        return size >= THP_FROM || total >= THP_FROM;
    default:
        return size >= XS_MEM_HUGE;
    }
}

bool xs_supply_is_huge(uint64_t total)
{
    return wants_thp(XS_MEM_HUGE, total);
}

bool xs_supply_is_explicit(void)
{
    return supply.options.huge == XS_HUGE_EXPLICIT;
}

bool xs_supply_is_auto(void)
{
    return supply.options.huge == XS_HUGE_AUTO;
}

void *xs_supply_map_first(unsigned node, size_t *size)
{
    if (wants_thp(*size, 0) || !xs_supply_charge(*size))
        return NULL;
    size_t got;
    void *p = xs_page_map_region(&got);
    if (p != NULL)
        xs_numa_place(p, got, node);
    xs_supply_uncharge(p != NULL ? *size - got : *size);
    if (p != NULL)
        *size = got;
    return p;
}

void *xs_supply_map(unsigned node, size_t *size, size_t align, uint64_t total)
{
    bool thp = wants_thp(*size, total);
    void *p = NULL;

    if (thp) {
        *size = xs_align_up(*size, XS_MEM_HUGE);
        align = align > XS_MEM_HUGE ? align : XS_MEM_HUGE;
    }
    if (!xs_supply_charge(*size))
        return NULL;
    if (thp && supply.options.huge == XS_HUGE_EXPLICIT && align <= XS_MEM_HUGE) {
        p = map_explicit(node, *size, XS_MEM_HUGE);
        if (p != NULL)
            return p;
        add(&supply.explicit_refused, *size);
    }
    if (p == NULL) {
        p = xs_mem_map(*size, align);
        if (p != NULL && thp)
            xs_mem_want_huge(p, *size);
        else if (p != NULL && xs_numa_interleaves())
            xs_mem_want_small(p, *size); /* a huge page is not spread */
    }
    if (p == NULL)
        xs_supply_uncharge(*size);
    else
        xs_numa_place(p, *size, node);
    return p;
}

int xs_supply_unmap(void *p, size_t size)
{
    struct range *r = kept_at(p);

    /* Before it is gone: then the range may be anybody's. */
    if (r != NULL && forget(r))
        atomic_fetch_sub_explicit(&supply.explicit_bytes, size, memory_order_relaxed);
    int rc = xs_mem_unmap(p, size);
    if (rc == 0)
        xs_supply_uncharge(size);
    return rc;
}

bool xs_supply_purge(void *p, size_t size)
{
    return kept_at(p) == NULL && xs_mem_purge(p, size) == 0;
}

void *xs_supply_reserve_huge(size_t *size)
{
    const size_t pages[] = {XS_MEM_GIANT, XS_MEM_HUGE};

    for (unsigned i = 0; i < XS_COUNT_OF(pages); i++) {
        for (size_t want = xs_align_down(*size, pages[i]); want != 0;
             want = xs_align_down(want / 2, pages[i])) {
            if (!xs_supply_charge(want))
                continue;
            void *p = map_explicit(0, want, pages[i]);
            if (p != NULL) {
                *size = want;
                return p;
            }
            xs_supply_uncharge(want);
        }
    }
    add(&supply.explicit_refused, *size);
    *size = 0;
    return NULL;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Beyond this the kernel would kill the process before main. */
static size_t most_to_prefault(void)
{
    struct xs_limits l[XS_LIMITS_MOST];
    uint64_t least = UINT64_MAX;

    for (unsigned i = xs_limits_look(l); i-- > 0;) {
        uint64_t left = xs_limits_left(&l[i]);
        least = left < least ? left : least;
    }
    return xs_align_down(least - least / LEAVE_PART, XS_MEM_HUGE);
}

void *xs_supply_prefault(size_t *size, bool lock)
{
    uint64_t begun = now_ns();
    size_t most = most_to_prefault();
    size_t want = *size < most ? *size : most;
    void *p = NULL;

    for (*size = 0; p == NULL && want != 0; want = xs_align_down(want / 2, XS_MEM_HUGE)) {
        *size = want;
        p = xs_supply_map(0, size, XS_MEM_HUGE, want);
    }
    if (p == NULL)
        return NULL;
    if (kept_at(p) == NULL)
        (void)keep(p, *size, false);
    if (lock && xs_mem_lock(p, *size) == 0)
        supply.locked_bytes = *size;
    else
        xs_mem_populate(p, *size);
    supply.prefault_bytes = *size;
    supply.prefault_ns = now_ns() - begun;
    return p;
}

void xs_supply_stats(struct xs_supply_stats *out)
{
    *out = (struct xs_supply_stats){
        .charged_bytes = atomic_load_explicit(&supply.charged, memory_order_relaxed),
        .charged_peak_bytes = atomic_load_explicit(&supply.charged_peak, memory_order_relaxed),
        .limit_bytes = supply.options.limit_bytes,
        .refused = atomic_load_explicit(&supply.refused, memory_order_relaxed),
        .explicit_bytes = atomic_load_explicit(&supply.explicit_bytes, memory_order_relaxed),
        .explicit_refused_bytes =
            atomic_load_explicit(&supply.explicit_refused, memory_order_relaxed),
        .huge = xs_huge_stats(),
        .prefault_bytes = supply.prefault_bytes,
        .prefault_locked_bytes = supply.locked_bytes,
        .prefault_ns = supply.prefault_ns,
    };
}
