/* A library whose constructor uses CUDA: preloaded behind XSigma it runs before XSigma's own. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

static int (*cuInit)(unsigned);
static int (*cuDevicePrimaryCtxRetain)(void **, int);
static int (*cuCtxSetCurrent)(void *);
static int (*cuMemAlloc)(unsigned long long *, size_t);
static int (*cuMemFree)(unsigned long long);

__attribute__((constructor)) static void early(void)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    void *ctx = NULL;
    unsigned long long p = 0;

    if (library == NULL)
        return;
    *(void **)&cuInit = dlsym(library, "cuInit");
    *(void **)&cuDevicePrimaryCtxRetain = dlsym(library, "cuDevicePrimaryCtxRetain");
    *(void **)&cuCtxSetCurrent = dlsym(library, "cuCtxSetCurrent");
    *(void **)&cuMemAlloc = dlsym(library, "cuMemAlloc_v2");
    *(void **)&cuMemFree = dlsym(library, "cuMemFree_v2");
    if (cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&ctx, 0) != 0 || cuCtxSetCurrent(ctx) != 0 ||
        cuMemAlloc(&p, 100000) != 0 || cuMemFree(p) != 0 || cuMemAlloc(&p, 100000) != 0)
        puts("early: CUDA failed");
}
