/* tests/gpu/cupti_count.c - counts the driver calls that a program makes, by CUPTI, without the
 * library: what the library counts must be the same.
 *
 * CUDA_INJECTION64_PATH=libcupti_count.so CUPTI_COUNT=file program; at exit the file has a line
 * "symbol count" for each. Calls that the runtime makes inside one of its own count, as they come
 * by the same way. */
#include <stdio.h>
#include <stdlib.h>

#include <cupti.h>

#define COUNTED(X)                                                                                 \
    X(cuMemAlloc_v2)                                                                               \
    X(cuMemAllocPitch_v2)                                                                          \
    X(cuMemAllocManaged)                                                                           \
    X(cuMemFree_v2)                                                                                \
    X(cuMemHostAlloc)                                                                              \
    X(cuMemFreeHost)                                                                               \
    X(cuMemAllocAsync)                                                                             \
    X(cuMemAllocAsync_ptsz)                                                                        \
    X(cuMemCreate)

enum {
#define X(symbol) COUNT_##symbol,
    COUNTED(X)
#undef X
        COUNTS
};
static unsigned long count[COUNTS];

static void see(unsigned which)
{
    __atomic_fetch_add(&count[which], 1, __ATOMIC_RELAXED);
}

static void CUPTIAPI callback(void *arg, CUpti_CallbackDomain domain, CUpti_CallbackId id,
                              const void *data)
{
    const CUpti_CallbackData *call = data;

    (void)arg;
    if (domain != CUPTI_CB_DOMAIN_DRIVER_API || call->callbackSite != CUPTI_API_ENTER)
        return;
    switch (id) {
#define X(symbol)                                                                                  \
    case CUPTI_DRIVER_TRACE_CBID_##symbol:                                                         \
        see(COUNT_##symbol);                                                                       \
        break;
        COUNTED(X)
#undef X
    default:
        break;
    }
}

static void at_exit(void)
{
    const char *path = getenv("CUPTI_COUNT");
    FILE *f = path != NULL ? fopen(path, "w") : NULL;

    if (f == NULL)
        return;
#define X(symbol) fprintf(f, #symbol " %lu\n", count[COUNT_##symbol]);
    COUNTED(X)
#undef X
    fclose(f);
}

__attribute__((visibility("default"))) int InitializeInjection(void)
{
    CUpti_SubscriberHandle subscriber;

    if (cuptiSubscribe(&subscriber, (CUpti_CallbackFunc)callback, NULL) != CUPTI_SUCCESS)
        return 0;
    cuptiEnableDomain(1, subscriber, CUPTI_CB_DOMAIN_DRIVER_API);
    atexit(at_exit);
    return 1;
}
