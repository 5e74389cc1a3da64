/* cuda_edges.c - cuda_edges CASE: prints what the driver answers at the edges of a program's life.
 *   fork      a block is freed, then the child of a fork asks for one, and frees it
 *   managed   what a copy left in managed memory, after a free
 *   close     libcuda is opened, used, closed, and used again
 *   passed    memory that the driver gives out by itself: of what is stream-ordered 1 MiB is left,
 *             of handles 2 MiB, and two nodes of graphs
 *   freed     what is known of pointers before and after their free
 *   attached  a debugger of device code attaches while a block is kept
 *   threads   threads find and use the driver at the same moment, for the first time */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/cuda_abi.h"

static void *library;
#define CU(symbol) ((__typeof__(&symbol))dlsym(library, #symbol))

static CUresult use(void)
{
    CUcontext ctx;
    CUdeviceptr p;
    CUresult r = CU(cuInit)(0);
    if (r == 0)
        r = CU(cuDevicePrimaryCtxRetain)(&ctx, 0);
    if (r == 0)
        r = CU(cuCtxSetCurrent)(ctx);
    if (r == 0)
        r = CU(cuMemAlloc_v2)(&p, 8192);
    if (r == 0)
        r = CU(cuMemFree_v2)(p);
    return r;
}

static int forked(void)
{
    CUdeviceptr p = 0;
    CUresult (*get)(CUdeviceptr *, size_t) = CU(cuMemAlloc_v2);
    CUresult (*put)(CUdeviceptr) = CU(cuMemFree_v2);
    int status = 0;
    printf("%u\n", use());
    CUresult r = get(&p, 8192);
    CUdeviceptr kept = p;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        CUresult a = get(&p, 8192), b = put(kept);
        printf("%u in the parent; in the child %u and %u\n", r, a, b);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("%d, %u\n", status, put(kept));
    return 0;
}

/* A copy within the device waits for nothing, but natively the free of what it reads does. */
static int managed(void)
{
    CUdeviceptr from, other, to;
    unsigned r = use();
    r |= CU(cuMemAlloc_v2)(&from, 4096) | CU(cuMemAlloc_v2)(&other, 4096);
    r |= CU(cuMemAllocManaged)(&to, 4096, CU_MEM_ATTACH_GLOBAL);
    r |=
        CU(cuMemsetD8_v2)(from, 42, 4096) | CU(cuMemsetD8_v2)(to, 7, 4096) | CU(cuCtxSynchronize)();
    r |= CU(cuMemcpyDtoD_v2)(to, from, 4096);
    r |= CU(cuMemFree_v2)(from);
    printf("%u %d\n", r, *(const char *)(uintptr_t)to);
    return 0;
}

static int passed(void)
{
    CUmemAllocationProp on_device = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                     .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUmemGenericAllocationHandle h[3], again;
    CUdeviceptr p[4], at[2];
    CUgraphNode node;
    CUstream s;
    CUgraph g, captured;
    const size_t mib = 1 << 20;
    unsigned r = use() | CU(cuStreamCreate)(&s, CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 3; i++)
        r |= CU(cuMemAllocAsync)(&p[i], mib, s);
    r |= CU(cuMemFreeAsync)(p[0], s) | CU(cuMemFree_v2)(p[1]);
    for (int i = 0; i < 3; i++)
        r |= CU(cuMemCreate)(&h[i], 2 * mib, &on_device, 0);
    for (int i = 0; i < 2; i++) {
        r |= CU(cuMemAddressReserve)(&at[i], 2 * mib, 0, 0, 0);
        r |= CU(cuMemMap)(at[i], 2 * mib, 0, h[i], 0);
    }
    r |= CU(cuMemRetainAllocationHandle)(&again, (void *)(uintptr_t)at[0]);
    for (int i = 0; i < 3; i++)
        r |= CU(cuMemRelease)(h[i]);
    r |= CU(cuMemUnmap)(at[0], 2 * mib) | CU(cuMemUnmap)(at[1], 2 * mib);
    CUDA_MEM_ALLOC_NODE_PARAMS what = {.poolProps = {.location = on_device.location},
                                       .bytesize = mib};
    r |= CU(cuGraphCreate)(&g, 0) | CU(cuGraphAddMemAllocNode)(&node, g, NULL, 0, &what);
    r |= CU(cuStreamBeginCapture_v2)(s, CU_STREAM_CAPTURE_MODE_RELAXED);
    r |= CU(cuMemAllocAsync)(&p[3], 2 * mib, s) | CU(cuMemFreeAsync)(p[3], s);
    r |= CU(cuStreamEndCapture)(s, &captured);
    printf("%u\n", r);
    return 0;
}

static void ask(const char *name, CUdeviceptr p)
{
    CUpointer_attribute what[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                  CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
    CUmemorytype type = 7;
    int device = 7;
    void *where[] = {&type, &device};
    CUdeviceptr base;
    unsigned r = CU(cuPointerGetAttributes)(2, what, where, p);
    printf("%s: %u %u %d", name, r, type, device);
    printf(" %u", CU(cuPointerGetAttribute)(&type, what[0], p));
    printf(" %u\n", CU(cuMemGetAddressRange_v2)(&base, NULL, p));
}

static int freed(void)
{
    CUdeviceptr p, other;
    void *host, *own = malloc(64);
    unsigned r = use();
    r |= CU(cuMemAlloc_v2)(&p, 8192) | CU(cuMemAlloc_v2)(&other, 8192);
    r |= CU(cuMemHostAlloc)(&host, 8192, 0);
    for (int is_freed = 0; is_freed < 2; is_freed++) {
        ask("device", p);
        ask("within it", p + 4096);
        ask("host", (CUdeviceptr)(uintptr_t)host);
        ask("within it", (CUdeviceptr)(uintptr_t)host + 4096);
        ask("another", other);
        ask("within it", other + 4096);
        ask("malloc's", (CUdeviceptr)(uintptr_t)own);
        if (!is_freed)
            r |= CU(cuMemFree_v2)(p) | CU(cuMemFreeHost)(host);
    }
    printf("%u\n", r);
    free(own);
    return 0;
}

static int attached(void)
{
    unsigned *flag = dlsym(library, "cudbgIpcFlag"), r = use();
    CUdeviceptr p;
    *flag = 1;
    for (int i = 0; i < 100; i++)
        r |= CU(cuMemAlloc_v2)(&p, 8192) | CU(cuMemFree_v2)(p);
    printf("%u\n", r);
    ask("device", p);
    return 0;
}

static int closed(void)
{
    CUresult (*get)(CUdeviceptr *, size_t) = CU(cuMemAlloc_v2);
    CUdeviceptr p;
    printf("%u\n", use());
    printf("%u\n", get(&p, 100));
    dlclose(library);
    dlclose(library);
    printf("%u\n", get(&p, 100));
    library = dlopen("libcuda.so.1", RTLD_NOW);
    printf("%u\n", use());
    return 0;
}

enum { THREADS = 8 };
static pthread_barrier_t barrier;

static void *thread(void *arg)
{
    (void)arg;
    pthread_barrier_wait(&barrier);
    /* Each opens it itself, and finds it opened by another at the same moment. */
    void *mine = dlopen("libcuda.so.1", RTLD_NOW);
    if (mine == NULL)
        return (void *)1;
    __atomic_store_n(&library, mine, __ATOMIC_RELAXED);
    return (void *)(size_t)use();
}

static int threads(void)
{
    pthread_t t[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        void *r;
        pthread_join(t[i], &r);
        printf("%zu ", (size_t)r);
    }
    puts("");
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "threads") == 0)
        return threads();
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (strcmp(what, "fork") == 0)
        return forked();
    if (strcmp(what, "managed") == 0)
        return managed();
    if (strcmp(what, "passed") == 0)
        return passed();
    if (strcmp(what, "freed") == 0)
        return freed();
    if (strcmp(what, "attached") == 0)
        return attached();
    if (strcmp(what, "close") == 0)
        return closed();
    return 2;
}
