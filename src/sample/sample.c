#include "sample/sample.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "sample/modules.h"
#include "sample/unwind.h"
#include "sample/walk.h"
#include "sample/weight.h"
#include "sys/filter.h"
#include "sys/lock.h"
#include "sys/record.h"
#include "sys/signals.h"

/* Who waits so long for the unwinder goes without: whoever has it may be waiting for a lock of the
 * loader's that the waiting thread holds. */
#define WAIT_SPINS 200
#define WAIT_NS    50000u
#define WAITS      2000u
#define NO_SAMPLE  (INT64_MAX / 2)

bool xs_sample_is_on;
bool xs_sample_is_in_core;
bool xs_sample_has_devices;
XS_TLS int64_t xs_sample_left;

static XS_TLS bool is_started; /* xs_sample_left was drawn */
static XS_TLS bool is_busy;    /* in this file: what is allocated is none of the program's */

static struct {
    struct xs_lock unwinding;
    struct xs_lock table; /* nothing that is not ours is called under it */
    uint64_t mean_bytes;
    uint64_t seed;
    _Atomic uint64_t drawn;
} own;

/* ---- drawing ---------------------------------------------------------------------------- */

int64_t xs_sample_gap(void)
{
    if (!xs_sample_is_on)
        return NO_SAMPLE;
    uint64_t n = atomic_fetch_add_explicit(&own.drawn, 1, memory_order_relaxed);
    return xs_gap_of(xs_random_at(own.seed, n + 1), own.mean_bytes);
}

bool xs_sample_due_slow(void)
{
    if (!is_started) {
        is_started = true;
        xs_sample_left += xs_sample_gap();
        if (xs_sample_left >= 0)
            return false;
    }
    xs_sample_left = xs_sample_gap();
    return xs_sample_is_on;
}

uint64_t xs_sample_stands_for(size_t size)
{
    double chance = xs_chance_of(size, own.mean_bytes);

    return chance <= 0 ? 1 : (uint64_t)(1 / chance + 0.5);
}

/* ---- taking ----------------------------------------------------------------------------- */

static bool take_patiently(struct xs_lock *l)
{
    for (unsigned i = 0; i < WAIT_SPINS; i++)
        if (xs_lock_try(l))
            return true;
    for (unsigned i = 0; i < WAITS; i++) {
        xs_pause_ns(WAIT_NS);
        if (xs_lock_try(l))
            return true;
    }
    return false;
}

/* A handler of a signal could leave by a jump, or run on the unwinder's stack. */
static bool take_unwinding(xs_signals *before)
{
    xs_signals_hold(before);
    if (!xs_lock_is_mine(&own.unwinding) && take_patiently(&own.unwinding))
        return true;
    xs_signals_put_back(before);
    return false;
}

static void give_unwinding(const xs_signals *before)
{
    xs_lock_give(&own.unwinding);
    xs_signals_put_back(before);
}

static uint32_t unwind(uint64_t frame[XS_SITE_FRAMES])
{
    xs_signals before;
    uint32_t depth = 0;

    if (take_unwinding(&before)) {
        depth = xs_unwind(frame);
        give_unwinding(&before);
    }
    return depth;
}

void xs_sample_stack_open(void)
{
    static bool is_open;
    xs_signals before;

    if (is_open || !take_unwinding(&before))
        return;
    (void)xs_modules_open();
    is_open = true;
    give_unwinding(&before);
}

uint32_t xs_sample_stack_from(const struct xs_registers *from, uintptr_t pc[], uint32_t most)
{
    if (xs_is_filtered()) /* both ways ask the kernel what can be read */
        return 0;

    int saved = errno;
    uint32_t n = xs_walk_known(from, pc, most);
    xs_signals before;

    if (n == XS_WALK_UNKNOWN) {
        n = 0;
        if (take_unwinding(&before)) {
            n = xs_unwind_addresses(from, pc, most);
            give_unwinding(&before);
        }
    }
    errno = saved;
    return n;
}

uint32_t xs_sample_stack(uintptr_t pc[], uint32_t most)
{
    struct xs_registers here = xs_registers_here();

    return xs_sample_stack_from(&here, pc, most);
}

static void drop(void)
{
    struct xs_sites *t = xs_table_sites();

    if (t != NULL)
        __atomic_fetch_add(&t->dropped, 1, __ATOMIC_RELAXED);
}

static bool take(uint32_t kind, const void *p, size_t size)
{
    uint64_t frame[XS_SITE_FRAMES];
    int saved = errno;

    if (is_busy)
        return false;
    is_busy = true;
    uint32_t depth = unwind(frame);
    xs_lock_take(&own.table);
    bool done = xs_table_add(kind, p, size, frame, depth);
    xs_lock_give(&own.table);
    is_busy = false;
    if (!done)
        drop();
    errno = saved;
    return done;
}

bool xs_sample_take(void *p, size_t size)
{
    return xs_sample_is_on && take(0, p, size);
}

/* Of what a signal handler frees that has interrupted this very place, a stale note stays. */
static bool remove_block(uint32_t kind, const void *p, struct xs_sampled *was)
{
    if (is_busy)
        return false;
    int saved = errno;
    is_busy = true;
    xs_lock_take(&own.table);
    bool done = xs_table_remove(kind, p, was);
    xs_lock_give(&own.table);
    is_busy = false;
    errno = saved;
    return done;
}

bool xs_sample_forget_slow(const void *p, struct xs_sampled *was)
{
    return remove_block(0, p, was);
}

void xs_sample_restore(const struct xs_sampled *was)
{
    int saved = errno;

    if (is_busy)
        return;
    is_busy = true;
    xs_lock_take(&own.table);
    (void)xs_table_restore(was);
    xs_lock_give(&own.table);
    is_busy = false;
    errno = saved;
}

/* ---- devices ---------------------------------------------------------------------------- */

static uint32_t kind_of(unsigned device)
{
    return device + 1 < XS_SITE_PINNED ? device + 1 : XS_SITE_PINNED - 1;
}

static const void *pointer_of(uintptr_t address)
{
    return (const void *)address; // NOLINT(performance-no-int-to-ptr)
}

void xs_sample_device(unsigned device, uintptr_t address, size_t size)
{
    if (xs_sample_has_devices)
        (void)take(kind_of(device), pointer_of(address), size);
}

void xs_sample_pinned(const void *p, size_t size)
{
    if (xs_sample_has_devices)
        (void)take(XS_SITE_PINNED, p, size);
}

void xs_sample_device_freed(uintptr_t address)
{
    struct xs_sampled was;

    if (xs_table_may_hold(1, pointer_of(address)))
        (void)remove_block(1, pointer_of(address), &was);
}

/* ---- life ------------------------------------------------------------------------------- */

static uint64_t some_seed(void)
{
    const void *at = (const void *)getauxval(AT_RANDOM); // NOLINT(performance-no-int-to-ptr)
    uint64_t random[2] = {(uint64_t)getpid(), (uintptr_t)&at};

    if (at != NULL)
        memcpy(random, at, sizeof(random));
    /* Not as they are: libc guards the stack with these bytes. */
    return xs_random_at(random[0] ^ random[1], 1);
}

bool xs_sample_open(const struct xs_sample_options *o, struct xs_buf *why)
{
    is_busy = true;
    enum xs_unwinder unwinder = xs_unwind_open(o->unwinder, why);
    is_busy = false;
    if (!xs_table_open(o->mean_bytes, unwinder)) {
        xs_buf_clear(why);
        xs_put_str(why, "no memory for the table of sites");
        return false;
    }
    own.mean_bytes = o->mean_bytes;
    own.seed = o->seed != 0 ? o->seed : some_seed();
    return true;
}

void xs_sample_begin(enum xs_sample_where where)
{
    xs_sample_has_devices = true;
    xs_sample_is_in_core = where == XS_SAMPLE_IN_CORE;
    xs_sample_is_on = where != XS_SAMPLE_DEVICES;
}

void xs_sample_end(void)
{
    XS_CHANGE_TO(xs_sample_is_on, false);
    XS_CHANGE_TO(xs_sample_has_devices, false);
}

void xs_sample_closing(void)
{
    xs_modules_closing();
}

void xs_sample_closed(void)
{
    xs_modules_closed();
}

/* ---- fork ------------------------------------------------------------------------------- */

/* What this thread took: several may be in fork, one waiting for the other's locks. */
static XS_TLS bool fork_has_unwinding;
static XS_TLS bool fork_has_table;

void xs_sample_fork_prepare(void)
{
    if (is_busy)
        return;
    fork_has_unwinding = take_patiently(&own.unwinding);
    xs_lock_take(&own.table);
    fork_has_table = true;
}

static void give_locks(void)
{
    if (fork_has_table)
        xs_lock_give(&own.table);
    if (fork_has_unwinding)
        xs_lock_give(&own.unwinding);
    fork_has_table = fork_has_unwinding = false;
}

void xs_sample_fork_parent(void)
{
    give_locks();
}

/* Sections of the record read as zero by now. */
void xs_sample_fork_child(bool goes_on)
{
    /* A signal handler has forked in the midst of a change, which will go on after it. */
    if (is_busy) {
        xs_sample_end();
        return;
    }
    xs_lock_reset(&own.table);
    xs_lock_reset(&own.unwinding);
    XS_CHANGE_TO(fork_has_table, false);
    XS_CHANGE_TO(fork_has_unwinding, false);
    xs_table_fork_child();
    xs_modules_fork_child();
    xs_walk_forget();
    if (!goes_on)
        xs_sample_end();
}
