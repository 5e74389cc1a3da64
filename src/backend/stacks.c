#include "backend/stacks.h"

#include <string.h>

#include "sample/sample.h"
#include "sys/backtrace.h"
#include "sys/lock.h"
#include "sys/mem.h"

/* Words of frames in all, and lists that they hang in. */
#define WORDS ((uint32_t)2 << 20)
#define LISTS 65536u

/* A stack in `word`: hash (high half) and next (low half); number of frames; the frames. None of it
 * changes once it hangs in a list, so that who only looks needs no lock. */
static struct {
    struct xs_lock lock;
    uint64_t *word; /* touched only as far as used */
    uint32_t used;
    _Atomic uint32_t *list;
    bool fork_took_lock;
} stacks = {.used = 1};

bool xs_stacks_open(void)
{
    uint64_t *word = xs_mem_map((size_t)WORDS * sizeof(uint64_t), 1);
    _Atomic uint32_t *list = xs_mem_map(LISTS * sizeof(*list), 1);

    if (word == NULL || list == NULL) {
        if (word != NULL)
            (void)xs_mem_unmap(word, (size_t)WORDS * sizeof(uint64_t));
        if (list != NULL)
            (void)xs_mem_unmap(list, LISTS * sizeof(*list));
        return false;
    }
    stacks.list = list;
    stacks.word = word;
    xs_sample_stack_open();
    return true;
}

static uint32_t hash_of(const uintptr_t pc[], unsigned n)
{
    uint64_t h = n;

    for (unsigned i = 0; i < n; i++)
        h = (h ^ pc[i]) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 32);
}

static uint32_t find(uint32_t hash, const uintptr_t pc[], unsigned n)
{
    uint32_t at = atomic_load_explicit(&stacks.list[hash % LISTS], memory_order_acquire);

    for (; at != 0; at = (uint32_t)stacks.word[at])
        if (stacks.word[at] >> 32 == hash && stacks.word[at + 1] == n &&
            memcmp(&stacks.word[at + 2], pc, n * sizeof(pc[0])) == 0)
            return at;
    return 0;
}

static uint32_t add(uint32_t hash, const uintptr_t pc[], unsigned n)
{
    uint32_t at = stacks.used;

    if (at > WORDS - XS_STACK_FRAMES - 2)
        return 0;
    _Atomic uint32_t *list = &stacks.list[hash % LISTS];
    stacks.word[at] = (uint64_t)hash << 32 | atomic_load_explicit(list, memory_order_relaxed);
    stacks.word[at + 1] = n;
    memcpy(&stacks.word[at + 2], pc, n * sizeof(pc[0]));
    stacks.used = at + n + 2;
    atomic_store_explicit(list, at, memory_order_release);
    return at;
}

uint32_t xs_stacks_here(uintptr_t pc)
{
    uintptr_t frame[XS_STACK_FRAMES];

    if (stacks.word == NULL)
        return 0;
    unsigned n = xs_sample_stack(frame, XS_STACK_FRAMES);
    if (n == 0)
        n = xs_backtrace(frame, XS_STACK_FRAMES);
    if (n == 0) {
        frame[0] = pc;
        n = 1;
    }
    uint32_t hash = hash_of(frame, n);
    uint32_t id = find(hash, frame, n);
    /* A signal handler may have interrupted its own thread in `add`. */
    if (id != 0 || xs_lock_is_mine(&stacks.lock))
        return id;
    xs_lock_take(&stacks.lock);
    id = find(hash, frame, n);
    if (id == 0)
        id = add(hash, frame, n);
    xs_lock_give(&stacks.lock);
    return id;
}

unsigned xs_stacks_get(uint32_t id, uintptr_t pc[XS_STACK_FRAMES])
{
    if (stacks.word == NULL || id == 0 || id > WORDS - XS_STACK_FRAMES - 2)
        return 0;
    uint64_t n = stacks.word[id + 1];
    if (n > XS_STACK_FRAMES)
        return 0;
    memcpy(pc, &stacks.word[id + 2], n * sizeof(pc[0]));
    return (unsigned)n;
}

void xs_stacks_fork_prepare(void)
{
    /* A signal handler may fork while its own thread holds it. */
    stacks.fork_took_lock = !xs_lock_is_mine(&stacks.lock);
    if (stacks.fork_took_lock)
        xs_lock_take(&stacks.lock);
}

void xs_stacks_fork_parent(void)
{
    if (stacks.fork_took_lock)
        xs_lock_give(&stacks.lock);
}

void xs_stacks_fork_child(void)
{
    xs_lock_reset(&stacks.lock);
}
