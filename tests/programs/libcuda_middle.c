/* libcuda_middle.c - a library in the middle of a chain: it has its own of some functions and goes
 * on with dlsym(RTLD_NEXT), the way tracers do it, also for the driver's cuMemAlloc_v2. Says at its
 * end how often each was called, if MIDDLE_SAYS is set. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "sys/cuda_abi.h"

static int lines, allocations;

int puts(const char *s)
{
    static int (*next)(const char *);
    if (next == NULL)
        next = (int (*)(const char *))dlsym(RTLD_NEXT, "puts");
    lines++;
    return next(s);
}

CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t size)
{
    static __typeof__(&cuMemAlloc_v2) next;
    if (next == NULL)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "cuMemAlloc_v2");
    allocations++;
    return next != NULL ? next(out, size) : 999;
}

/* For programs: what RTLD_NEXT and RTLD_DEFAULT mean from in here. */
void *middle_next(const char *name)
{
    void *p = dlsym(RTLD_NEXT, name);
    return p; /* no tail call: the caller's address must be in here */
}
void *middle_default(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    return p;
}
void *middle_version(const char *name, const char *version)
{
    void *p = dlvsym(RTLD_NEXT, name, version);
    return p;
}

__attribute__((destructor)) static void say(void)
{
    if (getenv("MIDDLE_SAYS") != NULL)
        fprintf(stderr, "middle: %d puts, %d cuMemAlloc_v2\n", lines, allocations);
}
