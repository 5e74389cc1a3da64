#include "backend/hot.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/align.h"
#include "sys/mem.h"

static XS_BUSY _Atomic bool writing;

/* By the loader, or xs_hot_lock; changed under `writing`. */
#ifdef __x86_64__
static bool is_readonly = true;
#else
static bool is_readonly;
#endif

/* The pages that it lies on. */
static void *first_page(void)
{
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return (void *)((uintptr_t)&xs_hot_page & ~(xs_mem_page() - 1));
}

static size_t page_bytes(void)
{
    return xs_align_up((uintptr_t)(&xs_hot_page + 1), xs_mem_page()) - (uintptr_t)first_page();
}

bool xs_hot_open(void)
{
    if (is_readonly && xs_mem_writable(first_page(), page_bytes()) == 0)
        is_readonly = false;
    return !is_readonly;
}

bool xs_hot_unlock(void)
{
    while (atomic_exchange_explicit(&writing, true, memory_order_acquire))
        sched_yield();
    bool done = xs_hot_open();
    if (!done)
        atomic_store_explicit(&writing, false, memory_order_release);
    return done;
}

void xs_hot_lock(void)
{
    /* Where mprotect is forbidden the page stays writable: protection is a precaution only. */
    is_readonly = xs_mem_readonly(first_page(), page_bytes()) == 0;
    atomic_store_explicit(&writing, false, memory_order_release);
}

void xs_hot_fork_child(void)
{
    /* It may be, though not noted yet; to make a page writable that is does no harm. */
    XS_CHANGE_TO(is_readonly, true);
    XS_CHANGE_TO(writing, false);
}
