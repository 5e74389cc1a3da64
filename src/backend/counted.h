/* backend/counted.h - a back end's calls in two kinds, plain and counting, from one definition.
 *
 * A back end NAME defines, as inline functions,
 *     void *NAME_do_malloc(size), NAME_do_zalloc(size), NAME_do_realloc(p, size),
 *     NAME_do_memalign(align, size), void NAME_do_free(p)      on its own pointers
 *     bool  NAME_owns(p)                                       false for NULL
 * and XS_COUNTED_CALLS(NAME, OWNER) makes NAME_plain_* and NAME_counted_* of them, so that counting
 * costs nothing when it is off and no extra jump when it is on. XS_ALONE_CALLS makes the calls that
 * count where there is only one thread, into the one slot that it has. NAME_counts_failures says
 * that the back end itself calls xs_count_failure, so that the hot call can stay a jump. The own
 * core counts by itself and makes its calls itself (host_bfc.c).
 *
 * Threads: any. Context: inside malloc.
 */
#ifndef XS_BACKEND_COUNTED_H
#define XS_BACKEND_COUNTED_H

#include <sys/single_threaded.h>

#include "backend/owner.h"

/* Off the hot path: the first call of a thread, or a call after its end. */
void xs_count_request_slow(enum xs_owner owner, size_t size);
void xs_count_free_slow(enum xs_owner owner);
void xs_count_realloc_slow(enum xs_owner owner, size_t size);

/* A counted allocation, or with `of_realloc` a reallocation, of `size` bytes returned NULL: it
 * stays a call, but its bytes were not had. Size 0 where it is not known. */
void xs_count_failure(enum xs_owner owner, bool of_realloc, size_t size);

/* The same for who returns NULL then: as a jump it costs the calls that succeed nothing. */
void *xs_count_no_block(enum xs_owner owner, size_t size);

/* The last failed allocation of this size was not the program's. */
void xs_count_no_failure(enum xs_owner owner, size_t size);

/* What the process counted while counting was on. Back ends that count by themselves do so always:
 * what they count meanwhile is taken off again. */
void xs_counted_sum(struct xs_counters sum[XS_OWNER_COUNT]);
void xs_counted_switch(bool on);
void xs_counted_fork_child(void);

XS_INLINE void xs_count_into(struct xs_counters *c, size_t size)
{
    XS_COUNT(c->requested_bytes, size);
    XS_COUNT(c->size_bin[xs_size_bin(size)], 1);
}

XS_INLINE void xs_count_request(enum xs_owner owner, size_t size)
{
    struct xs_slot *slot = xs_slot_mine;

    if (XS_UNLIKELY(slot == NULL))
        xs_count_request_slow(owner, size);
    else
        xs_count_into(&slot->by_owner[owner], size);
}

XS_INLINE void xs_count_realloc(enum xs_owner owner, size_t size)
{
    struct xs_slot *slot = xs_slot_mine;

    if (XS_UNLIKELY(slot == NULL)) {
        xs_count_realloc_slow(owner, size);
    } else {
        XS_COUNT(slot->by_owner[owner].reallocs, 1);
        xs_count_into(&slot->by_owner[owner], size);
    }
}

XS_INLINE void *xs_count_result(enum xs_owner owner, size_t size, void *p)
{
    return XS_LIKELY(p != NULL) ? p : xs_count_no_block(owner, size);
}

#define XS_COUNTED_CALLS(NAME, OWNER)                                                              \
    static void *NAME##_malloc(size_t size)                                                        \
    {                                                                                              \
        return NAME##_do_malloc(size);                                                             \
    }                                                                                              \
    /* A function of its own, so that the hot one below needs no stack frame. */                   \
    XS_COLD static void *NAME##_first_malloc(size_t size)                                          \
    {                                                                                              \
        xs_count_request_slow(OWNER, size);                                                        \
        void *p = NAME##_do_malloc(size);                                                          \
        return NAME##_counts_failures ? p : xs_count_result(OWNER, size, p);                       \
    }                                                                                              \
    static void *NAME##_counted_malloc(size_t size)                                                \
    {                                                                                              \
        struct xs_slot *slot = xs_slot_mine;                                                       \
        if (XS_UNLIKELY(slot == NULL))                                                             \
            return NAME##_first_malloc(size);                                                      \
        xs_count_into(&slot->by_owner[OWNER], size);                                               \
        if (NAME##_counts_failures)                                                                \
            return NAME##_do_malloc(size);                                                         \
        return xs_count_result(OWNER, size, NAME##_do_malloc(size));                               \
    }                                                                                              \
    static void *NAME##_zalloc(size_t size)                                                        \
    {                                                                                              \
        return NAME##_do_zalloc(size);                                                             \
    }                                                                                              \
    static void *NAME##_counted_zalloc(size_t size)                                                \
    {                                                                                              \
        xs_count_request(OWNER, size);                                                             \
        void *p = NAME##_do_zalloc(size);                                                          \
        return NAME##_counts_failures ? p : xs_count_result(OWNER, size, p);                       \
    }                                                                                              \
    static void *NAME##_memalign(size_t align, size_t size)                                        \
    {                                                                                              \
        return NAME##_do_memalign(align, size);                                                    \
    }                                                                                              \
    static void *NAME##_counted_memalign(size_t align, size_t size)                                \
    {                                                                                              \
        xs_count_request(OWNER, size);                                                             \
        void *p = NAME##_do_memalign(align, size);                                                 \
        return NAME##_counts_failures ? p : xs_count_result(OWNER, size, p);                       \
    }                                                                                              \
    XS_UNUSED static void *NAME##_realloc_own(void *p, size_t size)                                \
    {                                                                                              \
        return NAME##_do_realloc(p, size);                                                         \
    }                                                                                              \
    static void *NAME##_counted_realloc_own(void *p, size_t size)                                  \
    {                                                                                              \
        xs_count_realloc(OWNER, size);                                                             \
        void *q = NAME##_do_realloc(p, size);                                                      \
        if (XS_UNLIKELY(q == NULL))                                                                \
            xs_count_failure(OWNER, true, size);                                                   \
        return q;                                                                                  \
    }                                                                                              \
    static void *NAME##_realloc(void *p, size_t size)                                              \
    {                                                                                              \
        return NAME##_owns(p) ? NAME##_do_realloc(p, size) : xs_any_realloc(p, size);              \
    }                                                                                              \
    static void *NAME##_counted_realloc(void *p, size_t size)                                      \
    {                                                                                              \
        return NAME##_owns(p) ? NAME##_counted_realloc_own(p, size) : xs_any_realloc(p, size);     \
    }                                                                                              \
    XS_UNUSED static void NAME##_free_own(void *p)                                                 \
    {                                                                                              \
        NAME##_do_free(p);                                                                         \
    }                                                                                              \
    static void NAME##_free(void *p)                                                               \
    {                                                                                              \
        if (XS_LIKELY(NAME##_owns(p)))                                                             \
            NAME##_do_free(p);                                                                     \
        else                                                                                       \
            xs_any_free(p);                                                                        \
    }                                                                                              \
    XS_COLD static void NAME##_first_free(void *p)                                                 \
    {                                                                                              \
        xs_count_free_slow(OWNER);                                                                 \
        NAME##_do_free(p);                                                                         \
    }                                                                                              \
    XS_INLINE void NAME##_count_and_free(void *p)                                                  \
    {                                                                                              \
        struct xs_slot *slot = xs_slot_mine;                                                       \
        if (XS_UNLIKELY(slot == NULL)) {                                                           \
            NAME##_first_free(p);                                                                  \
            return;                                                                                \
        }                                                                                          \
        XS_COUNT(slot->by_owner[OWNER].frees, 1);                                                  \
        NAME##_do_free(p);                                                                         \
    }                                                                                              \
    XS_UNUSED static void NAME##_counted_free_own(void *p)                                         \
    {                                                                                              \
        NAME##_count_and_free(p);                                                                  \
    }                                                                                              \
    static void NAME##_counted_free(void *p)                                                       \
    {                                                                                              \
        if (XS_LIKELY(NAME##_owns(p)))                                                             \
            NAME##_count_and_free(p);                                                              \
        else                                                                                       \
            xs_any_free(p);                                                                        \
    }                                                                                              \
    static const struct xs_calls NAME##_calls_by_kind[2] = {                                       \
        {NAME##_malloc, NAME##_zalloc, NAME##_realloc, NAME##_memalign, NAME##_free},              \
        {NAME##_counted_malloc, NAME##_counted_zalloc, NAME##_counted_realloc,                     \
         NAME##_counted_memalign, NAME##_counted_free},                                            \
    };                                                                                             \
    static const struct xs_calls *NAME##_calls(bool counted)                                       \
    {                                                                                              \
        return &NAME##_calls_by_kind[counted];                                                     \
    }

/* Threads that the C library makes for itself are not seen by preload/jumps.c, but each asks calloc
 * for its table of thread-local blocks before it runs, and the first is announced before that. */
#define XS_ALONE_CALLS(NAME, OWNER)                                                                \
    XS_COLD static void *NAME##_end_alone(size_t size)                                             \
    {                                                                                              \
        xs_hot.end_alone();                                                                        \
        return NAME##_counted_zalloc(size);                                                        \
    }                                                                                              \
    static void *NAME##_alone_zalloc(size_t size)                                                  \
    {                                                                                              \
        if (XS_UNLIKELY(!__libc_single_threaded))                                                  \
            return NAME##_end_alone(size);                                                         \
        xs_count_into(&XS_SLOT_ALONE.by_owner[OWNER], size);                                       \
        void *p = NAME##_do_zalloc(size);                                                          \
        return NAME##_counts_failures ? p : xs_count_result(OWNER, size, p);                       \
    }                                                                                              \
    static void NAME##_alone_free_own(void *p)                                                     \
    {                                                                                              \
        XS_COUNT(XS_SLOT_ALONE.by_owner[OWNER].frees, 1);                                          \
        NAME##_do_free(p);                                                                         \
    }

#endif
