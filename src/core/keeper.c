#include "core/keeper.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/pressure.h"
#include "core/thread_heap.h"
#include "sys/elf.h"
#include "sys/filter.h"
#include "sys/lock.h"
#include "sys/proc.h"
#include "sys/signals.h"
#include "sys/thread_end.h"

/* A look oftener than this would cost more than it finds. */
#define PAUSE_LEAST_NS 10000000u

/* Of its stack, for itself. */
#define STACK_BYTES ((size_t)256 << 10)

_Atomic uint32_t xs_keeper_state;

static atomic_bool may_visit; /* the kernel lends the fence that a visit needs */
static atomic_bool knows_filter;
static atomic_bool is_made; /* the kernel has it */
static pthread_t first_thread;

bool xs_keeper_may_visit(void)
{
    return atomic_load_explicit(&may_visit, memory_order_relaxed) && !xs_is_filtered();
}

static void sleep_while(uint32_t state, uint64_t ns)
{
    const struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    syscall(SYS_futex, &xs_keeper_state, FUTEX_WAIT_PRIVATE, state, ns != 0 ? &t : NULL, NULL, 0);
}

void xs_keeper_wake(void)
{
    int saved = errno;
    uint32_t asleep = XS_KEEPER_ASLEEP;

    if (atomic_compare_exchange_strong_explicit(&xs_keeper_state, &asleep, XS_KEEPER_AWAKE,
                                                memory_order_relaxed, memory_order_relaxed))
        syscall(SYS_futex, &xs_keeper_state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}

bool xs_keeper_stop(void)
{
    int saved = errno;
    uint32_t before =
        atomic_exchange_explicit(&xs_keeper_state, XS_KEEPER_ENDED, memory_order_relaxed);

    syscall(SYS_futex, &xs_keeper_state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
    return before != XS_KEEPER_NONE && before != XS_KEEPER_ENDED &&
           atomic_load_explicit(&is_made, memory_order_relaxed);
}

void xs_keeper_filtered(void)
{
    int saved = errno;

    for (int i = 0; i < 4000 && !atomic_load_explicit(&knows_filter, memory_order_relaxed); i++) {
        uint32_t state = atomic_load_explicit(&xs_keeper_state, memory_order_relaxed);
        if (state != XS_KEEPER_AWAKE && state != XS_KEEPER_ASLEEP)
            break;
        syscall(SYS_futex, &xs_keeper_state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        xs_pause_ns(i < 20 ? 50000 : 500000);
    }
    errno = saved;
}

/* Our thread must not be the last one: when the main thread ends by itself, so does it. */
static void thread_ends(void)
{
    if (xs_keeper_is_settled() && pthread_equal(pthread_self(), first_thread))
        (void)xs_keeper_stop();
}

/* ---- the thread ------------------------------------------------------------------------- */

/* True: there is something that may be given back later. */
static bool look(void)
{
    bool more = false;

    if (xs_keeper_may_visit() && xs_span_begin()) {
        more = xs_heap_visit();
        xs_span_end();
    }
    (void)xs_span_tick();
    xs_pressure_poll();
    return xs_span_dirty_bytes() != 0 || more;
}

static void *keep(void *unused)
{
    uint64_t pause = xs_span_decay_ns();
    uint32_t awake = XS_KEEPER_AWAKE;
    unsigned idle = 0;

    (void)unused;
    (void)pthread_setname_np(pthread_self(), "xsigma");
    if (pause < PAUSE_LEAST_NS)
        pause = PAUSE_LEAST_NS;
    for (;;) {
        if (xs_is_filtered())
            atomic_store_explicit(&knows_filter, true, memory_order_relaxed);
        uint32_t state = atomic_load_explicit(&xs_keeper_state, memory_order_relaxed);
        if (state == XS_KEEPER_LEAVING)
            atomic_compare_exchange_strong_explicit(&xs_keeper_state, &state, XS_KEEPER_NONE,
                                                    memory_order_relaxed, memory_order_relaxed);
        if (state != XS_KEEPER_AWAKE && state != XS_KEEPER_ASLEEP)
            return NULL;
        sleep_while(state, state == XS_KEEPER_AWAKE ? pause : 0);
        if (atomic_load_explicit(&xs_keeper_state, memory_order_relaxed) != XS_KEEPER_AWAKE)
            continue;
        /* Asleep first, then a last look: what comes after it wakes us. */
        if (look())
            idle = 0;
        else if (++idle > 1)
            atomic_compare_exchange_strong_explicit(&xs_keeper_state, &awake, XS_KEEPER_ASLEEP,
                                                    memory_order_relaxed, memory_order_relaxed);
        awake = XS_KEEPER_AWAKE;
    }
}

/* The thread-local variables of the program and its libraries lie on each thread's stack, and may
 * be larger than all that we need there. Only the C library knows, by this name since 2.15. */
static size_t stack_bytes(const pthread_attr_t *attr)
{
    typedef size_t least_function(const pthread_attr_t *attr);
    least_function *least = (least_function *)(uintptr_t)xs_elf_libc("__pthread_get_minstack");

    return STACK_BYTES + (least != NULL ? least(attr) : 0);
}

/* Not where a filter of system calls might kill for it. */
static bool register_fence(void)
{
    return !xs_filter_was_before() &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void xs_keeper_start(void)
{
    uint32_t none = XS_KEEPER_NONE;
    int saved = errno;
    xs_signals before;
    pthread_attr_t attr;
    pthread_t thread;

    if (!atomic_compare_exchange_strong_explicit(&xs_keeper_state, &none, XS_KEEPER_AWAKE,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    if (syscall(SYS_gettid) == getpid())
        first_thread = pthread_self();
    atomic_store_explicit(&may_visit, register_fence(), memory_order_relaxed);
    if (xs_heap_here() != &xs_heap_none)
        xs_heap_owned(xs_heap_mine);
    xs_signals_hold(&before);
    if (pthread_attr_init(&attr) == 0 &&
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED) == 0 &&
        pthread_attr_setstacksize(&attr, stack_bytes(&attr)) == 0 &&
        pthread_create(&thread, &attr, keep, NULL) == 0)
        atomic_store_explicit(&is_made, true, memory_order_relaxed);
    else
        atomic_store_explicit(&xs_keeper_state, XS_KEEPER_ENDED, memory_order_relaxed);
    xs_signals_put_back(&before);
    /* The caller is the first thread, which need have no heap of ours. */
    (void)xs_thread_end(thread_ends);
    errno = saved;
}

static bool leave(void)
{
    uint32_t state = atomic_load_explicit(&xs_keeper_state, memory_order_relaxed);

    while (state == XS_KEEPER_AWAKE || state == XS_KEEPER_ASLEEP)
        if (atomic_compare_exchange_strong_explicit(&xs_keeper_state, &state, XS_KEEPER_LEAVING,
                                                    memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

void xs_keeper_before_fork(void)
{
    int saved = errno;

    if (xs_keeper_is_settled() && !xs_is_filtered() && xs_proc_threads() == 2 && leave()) {
        syscall(SYS_futex, &xs_keeper_state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
        /* The handler that we are in may have interrupted what it waits for. */
        for (int i = 0; i < 400 && xs_proc_threads() == 2; i++)
            xs_pause_ns(50000);
    }
    errno = saved;
}

void xs_keeper_fork_child(void)
{
    uint32_t state = atomic_load_explicit(&xs_keeper_state, memory_order_relaxed);

    /* Not written to where it is so already: that would cost the child a page. */
    if (atomic_load_explicit(&is_made, memory_order_relaxed))
        atomic_store_explicit(&is_made, false, memory_order_relaxed);
    if (state != XS_KEEPER_ENDED && state != XS_KEEPER_NONE)
        atomic_store_explicit(&xs_keeper_state, XS_KEEPER_NONE, memory_order_relaxed);
}
