/* libcuda_spy.c - preloaded before the library under test: a line on the file SPY_LOG for each
 * answer of cuGetProcAddress, in either form, and of dlsym for a name of the driver's: name,
 * version, flags, the driver's symbol, the object that the answer is in. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/cuda_abi.h"

typedef void *look_up(void *, const char *);

static __typeof__(&cuGetProcAddress_v2) under_test, drivers;
static __typeof__(&cuGetProcAddress) under_test_11, drivers_11;
static FILE *out;

static const char *object_of(void *p, const char **symbol)
{
    Dl_info info;
    if (p == NULL || dladdr(p, &info) == 0)
        return "nowhere";
    if (symbol != NULL)
        *symbol = info.dli_sname != NULL ? info.dli_sname : "?";
    const char *slash = strrchr(info.dli_fname, '/');
    return slash != NULL ? slash + 1 : info.dli_fname;
}

static void say(const char *name, int version, uint64_t flags, void *own, void *answer)
{
    const char *symbol = "none";
    object_of(own, &symbol);
    fprintf(out, "%s %d %lu %s %s\n", name, version, (unsigned long)flags, symbol,
            object_of(answer, NULL));
    fflush(out);
}

static CUresult spy_11(const char *name, void **p, int version, uint64_t flags)
{
    void *own = NULL;
    CUresult r = under_test_11(name, p, version, flags);
    CUresult s = drivers_11(name, &own, version, flags);
    if (r != s)
        fprintf(out, "%s %d: %u instead of %u\n", name, version, r, s);
    say(name, version, flags, own, r == CUDA_SUCCESS && p != NULL ? *p : NULL);
    return r;
}

static CUresult spy(const char *name, void **p, int version, uint64_t flags,
                    CUdriverProcAddressQueryResult *status)
{
    CUdriverProcAddressQueryResult wanted = 77;
    void *own = NULL;
    CUresult r = under_test(name, p, version, flags, status);
    CUresult s = drivers(name, &own, version, flags, &wanted);
    if (r != s || (status != NULL && *status != wanted))
        fprintf(out, "%s %d: %u, status %u instead of %u, status %u\n", name, version, r,
                status != NULL ? *status : 0, s, wanted);
    say(name, version, flags, own, p != NULL ? *p : NULL);
    if (strcmp(name, "cuGetProcAddress") == 0 && version >= 12000 && p != NULL && *p != NULL)
        *(void **)p = (void *)spy;
    return r;
}

void *dlsym(void *handle, const char *name)
{
    static look_up *libcs, *next;
    if (next == NULL) {
        libcs = (look_up *)dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
        if (libcs == NULL)
            libcs = (look_up *)dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.17");
        void *tested = dlopen(getenv("SPY_ON"), RTLD_LAZY | RTLD_NOLOAD);
        next = tested != NULL ? (look_up *)libcs(tested, "dlsym") : libcs;
        out = fopen(getenv("SPY_LOG"), "w");
    }
    void *p = next(handle, name);
    if (p == NULL || out == NULL || strncmp(name, "cu", 2) != 0 || name[2] < 'A' || name[2] > 'Z')
        return p;
    void *own = libcs(handle, name);
    if (strcmp(name, "cuGetProcAddress_v2") == 0) {
        under_test = (__typeof__(under_test))p;
        drivers = (__typeof__(drivers))own;
        return (void *)spy;
    }
    if (strcmp(name, "cuGetProcAddress") == 0) {
        under_test_11 = (__typeof__(under_test_11))p;
        drivers_11 = (__typeof__(drivers_11))own;
        return (void *)spy_11;
    }
    say(name, 0, 0, own, p);
    return p;
}
