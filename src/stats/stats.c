#include "stats/stats.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "base/align.h"
#include "sys/mem.h"
#include "sys/thread_end.h"

/* Slots are numbered; number i lies in block i / XS_SLOTS_PER_BLOCK. Number 0 is shared. */
#define BLOCKS_MAX 8192
#define LATE_SLOT  xs_slot_first.slot[0]

XS_SELDOM struct xs_slot_block xs_slot_first;
XS_SELDOM static _Atomic(struct xs_slot_block *) blocks[BLOCKS_MAX]; /* but the first */
static _Atomic uint32_t slots_used = 1;

XS_SELDOM struct xs_size_counts xs_size_counts;
static bool counts_sizes;
static bool has_private_sizes;

/* Not all of them are areas of the record, which read as zero after a fork. */
static atomic_bool has_private = true;

/* Stack of free slots: (how many were taken << 32) | (index + 1). The count defeats ABA. */
static _Atomic uint64_t free_slots;

XS_TLS struct xs_slot *xs_slot_mine;
static XS_TLS bool has_exit_hook;
static XS_TLS bool is_past_end;

static struct xs_slot_block *block_at(uint32_t b)
{
    return b == 0 ? &xs_slot_first : atomic_load_explicit(&blocks[b], memory_order_acquire);
}

static struct xs_slot *slot_at(uint32_t index)
{
    struct xs_slot_block *block = block_at(index / XS_SLOTS_PER_BLOCK);

    return block != NULL ? &block->slot[index % XS_SLOTS_PER_BLOCK] : NULL;
}

static uint32_t slot_index(const struct xs_slot *slot)
{
    uint32_t used = atomic_load_explicit(&slots_used, memory_order_acquire);

    for (uint32_t b = 0; b * XS_SLOTS_PER_BLOCK < used; b++) {
        struct xs_slot_block *block = block_at(b);
        if (block != NULL && slot >= block->slot && slot < block->slot + XS_SLOTS_PER_BLOCK)
            return b * XS_SLOTS_PER_BLOCK + (uint32_t)(slot - block->slot);
    }
    return UINT32_MAX;
}

static struct xs_slot *pop_free_slot(void)
{
    uint64_t head = atomic_load_explicit(&free_slots, memory_order_acquire);

    while ((uint32_t)head != 0) {
        struct xs_slot *slot = slot_at((uint32_t)head - 1);
        uint64_t next = atomic_load_explicit(&slot->next_free, memory_order_relaxed);
        next |= ((head >> 32) + 1) << 32;
        /* Acquire pairs with push: the last owner's counts are seen before ours are added. */
        if (atomic_compare_exchange_weak_explicit(&free_slots, &head, next, memory_order_acq_rel,
                                                  memory_order_acquire))
            return slot;
    }
    return NULL;
}

static void push_free_slot(struct xs_slot *slot)
{
    uint32_t index = slot_index(slot);
    uint64_t head = atomic_load_explicit(&free_slots, memory_order_relaxed);
    uint64_t next;

    do {
        atomic_store_explicit(&slot->next_free, (uint32_t)head, memory_order_relaxed);
        next = head >> 32 << 32 | (index + 1);
    } while (!atomic_compare_exchange_weak_explicit(&free_slots, &head, next, memory_order_release,
                                                    memory_order_relaxed));
}

static struct xs_slot *new_slot(void)
{
    uint32_t index = atomic_load_explicit(&slots_used, memory_order_relaxed);
    _Atomic(struct xs_slot_block *) *block;
    struct xs_slot_block *expected = NULL;

    do {
        if (index >= XS_SLOTS_PER_BLOCK * BLOCKS_MAX)
            return NULL;
        block = &blocks[index / XS_SLOTS_PER_BLOCK];
        if (block_at(index / XS_SLOTS_PER_BLOCK) == NULL) {
            struct xs_slot_block *fresh = xs_mem_map(sizeof(*fresh), 1);
            if (fresh == NULL)
                return NULL;
            /* Before anybody counts there. If another thread was faster, it is never used: the
             * record goes on knowing of it. */
            if (!xs_record_area(XS_RECORD_SLOTS, fresh, sizeof(*fresh)))
                atomic_store_explicit(&has_private, true, memory_order_relaxed);
            expected = NULL;
            (void)atomic_compare_exchange_strong_explicit(
                block, &expected, fresh, memory_order_acq_rel, memory_order_acquire);
        }
    } while (!atomic_compare_exchange_weak_explicit(&slots_used, &index, index + 1,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return slot_at(index);
}

/* Threads that count, here and, where a record is made of it, in the block; that has a page of its
 * own for it. */
XS_FORKED static struct {
    _Atomic uint64_t now;
    _Atomic uint64_t peak;
    _Atomic uint64_t total;
    atomic_bool are_told;
} threads;

/* Of threads that do this at the same time the last one to write has what is true: an exchange is
 * done before the next look. */
static void set(_Atomic uint64_t *to, const _Atomic uint64_t *from)
{
    uint64_t was;

    do {
        was = atomic_load(from);
        (void)atomic_exchange(to, was);
    } while (atomic_load(from) != was);
}

static void tell_threads(void)
{
    if (!atomic_load_explicit(&threads.are_told, memory_order_relaxed))
        return;
    set(&xs_slot_first.threads_now, &threads.now);
    set(&xs_slot_first.threads_peak, &threads.peak);
    set(&xs_slot_first.threads_total, &threads.total);
}

void xs_stats_tell_threads(void)
{
    atomic_store_explicit(&threads.are_told, true, memory_order_relaxed);
    tell_threads();
}

static void count_thread(void)
{
    uint64_t now = atomic_fetch_add_explicit(&threads.now, 1, memory_order_relaxed) + 1;
    uint64_t peak = atomic_load_explicit(&threads.peak, memory_order_relaxed);

    atomic_fetch_add_explicit(&threads.total, 1, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &threads.peak, &peak, now, memory_order_relaxed, memory_order_relaxed))
        ;
    tell_threads();
}

static void thread_ends(void)
{
    struct xs_slot *slot = xs_slot_mine;

    /* libc frees a few blocks after this: those count late. */
    is_past_end = true;
    if (slot == NULL)
        return;
    xs_slot_mine = NULL;
    atomic_fetch_sub_explicit(&threads.now, 1, memory_order_relaxed);
    tell_threads();
    push_free_slot(slot);
}

struct xs_slot *xs_stats_attach(void)
{
    struct xs_slot *slot = xs_slot_mine;
    int saved = errno;

    if (is_past_end)
        return NULL;
    if (slot == NULL) {
        slot = pop_free_slot();
        if (slot == NULL)
            slot = new_slot();
        if (slot == NULL) {
            errno = saved;
            return NULL;
        }
        count_thread();
        xs_slot_mine = slot;
    }
    /* After xs_slot_mine is set, since this may come back here through calloc. */
    if (!has_exit_hook)
        has_exit_hook = xs_thread_end(thread_ends);
    errno = saved;
    return slot;
}

bool xs_stats_is_alone(void)
{
    return __libc_single_threaded && xs_stats_attach() == &XS_SLOT_ALONE;
}

struct xs_counters *xs_stats_late(enum xs_owner owner)
{
    return &LATE_SLOT.by_owner[owner];
}

void xs_stats_record(void)
{
    bool done = xs_record_area(XS_RECORD_SLOTS, &xs_slot_first, sizeof(xs_slot_first));

    atomic_store_explicit(&has_private, !done, memory_order_relaxed);
}

void xs_size_counts_begin(void)
{
    if (!counts_sizes)
        has_private_sizes =
            !xs_record_area(XS_RECORD_SIZES, &xs_size_counts, sizeof(xs_size_counts));
    counts_sizes = true;
}

/* Only what is not 0: a page that stays as it is costs a small process nothing. */
static void clear_slot(struct xs_slot *slot)
{
    static const struct xs_counters none;

    for (size_t i = 0; i < XS_OWNER_COUNT; i++)
        if (memcmp(&slot->by_owner[i], &none, sizeof(none)) != 0)
            slot->by_owner[i] = none;
}

void xs_stats_fork_child(void)
{
    uint32_t used = atomic_load_explicit(&slots_used, memory_order_relaxed);
    bool clear = atomic_load_explicit(&has_private, memory_order_relaxed);

    if (has_private_sizes)
        xs_size_counts = (struct xs_size_counts){0};
    /* The slots of threads that do not exist here go to the threads to come. */
    XS_CHANGE_TO(free_slots, 0);
    for (uint32_t i = 0; i < used; i++) {
        struct xs_slot *slot = slot_at(i);
        if (slot == NULL)
            continue;
        if (clear)
            clear_slot(slot);
        if (i != 0 && slot != xs_slot_mine)
            push_free_slot(slot);
    }
    uint64_t here = xs_slot_mine != NULL;
    XS_CHANGE_TO(threads.are_told, false);
    XS_CHANGE_TO(threads.now, here);
    XS_CHANGE_TO(threads.peak, here);
    XS_CHANGE_TO(threads.total, here);
}

void xs_counters_add(struct xs_counters *sum, const struct xs_counters *c)
{
#define X(name, unit, help) sum->name += __atomic_load_n(&c->name, __ATOMIC_RELAXED);
    XS_COUNTER_FIELDS(X)
#undef X
    for (size_t b = 0; b < XS_SIZE_BINS; b++)
        sum->size_bin[b] += __atomic_load_n(&c->size_bin[b], __ATOMIC_RELAXED);
}

void xs_counters_sub(struct xs_counters *sum, const struct xs_counters *c)
{
#define X(name, unit, help) sum->name -= c->name;
    XS_COUNTER_FIELDS(X)
#undef X
    for (size_t b = 0; b < XS_SIZE_BINS; b++)
        sum->size_bin[b] -= c->size_bin[b];
}

void xs_slot_block_add(struct xs_counters sum[XS_OWNER_COUNT], const struct xs_slot_block *block)
{
    for (size_t i = 0; i < XS_SLOTS_PER_BLOCK; i++)
        for (size_t owner = 0; owner < XS_OWNER_COUNT; owner++)
            xs_counters_add(&sum[owner], &block->slot[i].by_owner[owner]);
}

void xs_size_counts_add(struct xs_counters *sum, const struct xs_size_counts *c)
{
    for (size_t size = 0; size < XS_SIZES_COUNTED; size++) {
        uint64_t n = __atomic_load_n(&c->taken[size], __ATOMIC_RELAXED);
        sum->size_bin[xs_size_bin(size)] += n;
        sum->requested_bytes += n * size;
    }
}

void xs_stats_sum(struct xs_counters sum[XS_OWNER_COUNT])
{
    uint32_t used = atomic_load_explicit(&slots_used, memory_order_acquire);

    for (size_t owner = 0; owner < XS_OWNER_COUNT; owner++)
        sum[owner] = (struct xs_counters){0};
    for (uint32_t i = 0; i < used; i++) {
        const struct xs_slot *slot = slot_at(i);
        for (size_t owner = 0; slot != NULL && owner < XS_OWNER_COUNT; owner++)
            xs_counters_add(&sum[owner], &slot->by_owner[owner]);
    }
    if (counts_sizes)
        xs_size_counts_add(&sum[XS_OWNER_MIMALLOC], &xs_size_counts);
}

void xs_stats_threads(uint64_t *total, uint64_t *now, uint64_t *peak)
{
    *total = atomic_load_explicit(&threads.total, memory_order_relaxed);
    *now = atomic_load_explicit(&threads.now, memory_order_relaxed);
    *peak = atomic_load_explicit(&threads.peak, memory_order_relaxed);
}

static uint64_t all_requests(const struct xs_counters *c)
{
    uint64_t n = 0;

    for (size_t b = 0; b < XS_SIZE_BINS; b++)
        n += c->size_bin[b];
    return n;
}

uint64_t xs_counters_allocations(const struct xs_counters *c)
{
    return all_requests(c) - c->reallocs;
}

int64_t xs_counters_live_blocks(const struct xs_counters *c)
{
    return (int64_t)(xs_counters_allocations(c) - c->failures - c->frees + c->moved_in -
                     c->moved_out);
}
