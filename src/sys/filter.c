#include "sys/filter.h"

#include <sys/prctl.h>

atomic_bool xs_filter_is_set;

void xs_filter_note(void)
{
    atomic_store_explicit(&xs_filter_is_set, true, memory_order_relaxed);
}

bool xs_filter_was_before(void)
{
    return prctl(PR_GET_SECCOMP) > 0; /* -1: the kernel has none */
}
