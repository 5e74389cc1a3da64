/* mapped.h - whether memory is mapped at an address, for unit tests. errno may change. */
#ifndef XS_TESTS_SUPPORT_MAPPED_H
#define XS_TESTS_SUPPORT_MAPPED_H

#include <errno.h>
#include <sys/mman.h>

#include "base/align.h"
#include "sys/mem.h"

/* The page that it lies in. */
static inline bool is_mapped(const void *p)
{
    size_t page = xs_mem_page();
    unsigned char in_core;

    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    void *at = (void *)xs_align_down((uintptr_t)p, page);
    return mincore(at, page, &in_core) == 0 || errno != ENOMEM;
}

#endif
