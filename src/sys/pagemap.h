/* sys/pagemap.h - what is behind the pages of the own process, by /proc/self/pagemap.
 * Units: an entry a page. Threads: any. Context: any. Allocates: never. May change errno.
 */
#ifndef XS_SYS_PAGEMAP_H
#define XS_SYS_PAGEMAP_H

#include <fcntl.h>
#include <unistd.h>

#include "sys/mem.h"

/* The kernel's Documentation/admin-guide/mm/pagemap.rst. */
#define XS_PAGE_OF_FILE (1UL << 61)
#define XS_PAGE_SWAPPED (1UL << 62)
#define XS_PAGE_THERE   (1UL << 63)

/* Below 0: there is none, or it is not for us. The caller closes it. */
XS_INLINE int xs_pagemap_open(void)
{
    return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

XS_INLINE bool xs_pagemap_read(int fd, uintptr_t from, size_t pages, uint64_t *entries)
{
    size_t bytes = pages * sizeof(entries[0]);
    off_t at = (off_t)(from / xs_mem_page() * sizeof(entries[0]));

    return pread(fd, entries, bytes, at) == (ssize_t)bytes;
}

#endif
