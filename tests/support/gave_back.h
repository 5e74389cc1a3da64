/* Counts in the place of libc's calls how often the core, which is linked to the test that includes
 * this, gives memory back to the system. */
#ifndef XS_TESTS_GAVE_BACK_H
#define XS_TESTS_GAVE_BACK_H

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned gave_back;

int madvise(void *p, size_t size, int advice)
{
    gave_back += advice == MADV_DONTNEED;
    return (int)syscall(SYS_madvise, p, size, advice);
}

int munmap(void *p, size_t size)
{
    gave_back++;
    return (int)syscall(SYS_munmap, p, size);
}

#endif
