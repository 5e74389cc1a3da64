#include "sys/filter.h"

atomic_bool xs_filter_is_set;

void xs_filter_note(void)
{
    atomic_store_explicit(&xs_filter_is_set, true, memory_order_relaxed);
}
