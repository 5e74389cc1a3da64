#include "backend/hot.h"

#include <sched.h>
#include <stdatomic.h>

#include "sys/mem.h"

_Static_assert(sizeof(struct xs_hot_state) <= XS_HOT_PAGE, "the hot state fits its page");

static _Atomic bool writing;

static bool is_readonly; /* by xs_hot_lock; changed under `writing` */

bool xs_hot_unlock(void)
{
    while (atomic_exchange_explicit(&writing, true, memory_order_acquire))
        sched_yield();
    if (is_readonly && xs_mem_writable(&xs_hot_page, sizeof(xs_hot_page)) != 0) {
        atomic_store_explicit(&writing, false, memory_order_release);
        return false;
    }
    is_readonly = false;
    return true;
}

void xs_hot_lock(void)
{
    /* Where mprotect is forbidden the page stays writable: protection is a precaution only. */
    is_readonly = xs_mem_readonly(&xs_hot_page, sizeof(xs_hot_page)) == 0;
    atomic_store_explicit(&writing, false, memory_order_release);
}

void xs_hot_fork_child(void)
{
    /* It may be, though not noted yet; to make a page writable that is does no harm. */
    is_readonly = true;
    atomic_store_explicit(&writing, false, memory_order_relaxed);
}
