/* backend/hot.h - the state that every allocation reads and nobody writes.
 *
 * Function pointers and bounds that are settled at start live together on a page that is read-only
 * from then on: a stray write of the program faults instead of steering malloc, and no line of it
 * is ever shared with something that changes. On x86-64 it is among what the loader makes read-only
 * when it has relocated it, so that it takes no page of memory of its own; elsewhere the kernel's
 * pages may be larger than what the linker reckons with, and it has one.
 * Units:   bytes.
 * Threads: read by all; written by one at a time between xs_hot_unlock and xs_hot_lock, in an order
 *          in which every mixture of old and new is right (policy/select.c).
 * Context: inside malloc. Allocates: never.
 */
#ifndef XS_BACKEND_HOT_H
#define XS_BACKEND_HOT_H

#include "backend/backend.h"

#define XS_ROUTE_STEPS_MAX 9 /* a route's 8, and one for what a library does not serve */

struct xs_step {
    size_t last; /* the largest size that goes here */
    const struct xs_calls *calls;
    enum xs_owner owner;
};

struct xs_libc_calls {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *p, size_t size);
    void *(*memalign)(size_t align, size_t size);
    void (*free)(void *p);
    size_t (*usable_size)(void *p);
};

struct xs_hot_state {
    struct xs_calls entry;   /* what the exported functions jump through */
    struct xs_calls inner;   /* what stands behind an alignment or errno policy */
    struct xs_calls beneath; /* what stands behind the sampling of blocks */
    size_t align;            /* of that policy */
    /* Where entry is the own core's, malloc of sizes less than this need not jump through it; else
     * 0. */
    size_t core_below;
    /* free of pointers from short_from on, but below short_below, jumps to short_free, of others
     * below short_below through entry; the rest goes the core's way, which finds out whose it is.
     * Where the core alone serves short_below is 0, where frees are looked at first short_from is
     * beyond all. */
    uintptr_t short_below;
    uintptr_t short_from;
    void (*short_free)(void *p);
    bool counting;
    void (*end_alone)(void); /* there is going to be a second thread */
    uint32_t step_count;     /* at least 1; the last step's bound is SIZE_MAX */
    struct xs_step step[XS_ROUTE_STEPS_MAX];
    const struct xs_backend *backend[XS_OWNER_COUNT];
    void (*free_own[XS_OWNER_COUNT])(void *p);
    void *(*realloc_own[XS_OWNER_COUNT])(void *p, size_t size);

    struct xs_libc_calls libc;
    struct xs_calls libc_plain; /* the same as a back end's calls, uncounted */

    struct {
        uintptr_t base; /* of the reservation; size 0: none */
        uintptr_t size;
        size_t size_max; /* beyond these it has no blocks that stay in its ranges */
        size_t align_max;
        void *(*malloc)(size_t size);
        void *(*zalloc)(size_t size);
        void *(*malloc_small)(size_t size); /* of up to 1,024 bytes */
        void *(*zalloc_small)(size_t size);
        void *(*realloc)(void *p, size_t size);
        void *(*malloc_aligned)(size_t size, size_t align);
        void (*free)(void *p);
        size_t (*usable_size)(const void *p);
    } mimalloc;

    struct {
        void *pool;
        void *(*malloc)(void *pool, size_t size);
        void *(*realloc)(void *pool, void *p, size_t size);
        void *(*aligned_malloc)(void *pool, size_t size, size_t align);
        bool (*free)(void *pool, void *p);
        size_t (*msize)(void *pool, void *p);
    } tbb;

    struct { /* backend/hardened.h */
        uint64_t key;
        uint32_t guard_every; /* 0: never */
        uint8_t mode;
        uint8_t mismatch;
        void (*warn)(const char *text); /* NULL: nobody is told */
    } hardened;
};

#ifdef __x86_64__
#define XS_HOT_PLACE __attribute__((section(".data.rel.ro.hot"))) _Alignas(64)
union xs_hot_page {
    struct xs_hot_state hot;
};
#else
/* 64 KiB is the largest page size of any supported kernel. */
#define XS_HOT_PAGE  65536
#define XS_HOT_PLACE XS_APART _Alignas(XS_HOT_PAGE)
union xs_hot_page {
    struct xs_hot_state hot;
    char page[XS_HOT_PAGE];
};
#endif

extern XS_HIDDEN union xs_hot_page xs_hot_page;
#define xs_hot (xs_hot_page.hot)

/* By their owner. */
#define xs_backends (xs_hot.backend)

/* Makes the page writable until xs_hot_lock, where no other thread can want that: at start. False:
 * it stays as it is. */
bool xs_hot_open(void);

/* Makes the page writable for the caller alone; waits for another writer. False: it stays as it is,
 * and so must its contents. */
bool xs_hot_unlock(void);
void xs_hot_lock(void);

/* In the child of a fork: a writer that was another thread is gone. */
void xs_hot_fork_child(void);

#endif
