#include "gpu/driver.h"

#include "sys/lock.h"

XS_UNLIKELY_DATA struct xs_cu_table xs_cu;

static struct xs_lock fill_lock;

/* The version that brought a call: what an older driver exports by that name is not it. */
enum { OF_11_2 = 11020, OF_12_2 = 12020, OF_12_5 = 12050 };

static bool fill(void *(*look_up)(void *arg, const char *symbol), void *arg)
{
    const char *lacks = NULL;
#define FIND(symbol) (xs_cu.symbol = (__typeof__(&symbol))(uintptr_t)look_up(arg, #symbol))
#define X(symbol)                                                                                  \
    if (FIND(symbol) == NULL && lacks == NULL)                                                     \
        lacks = #symbol;
    XS_CU_NEEDED(X)
#undef X
#define X(symbol) (void)FIND(symbol);
    XS_CU_OPTIONAL(X)
#undef X
#undef FIND
    xs_cu.debugged = look_up(arg, "cudbgIpcFlag");
    if (xs_cu.version < OF_12_5)
        xs_cu.cuCtxRecordEvent = NULL;
    if (xs_cu.version < OF_12_2)
        xs_cu.cuMemPrefetchAsync_v2 = NULL;
    if (xs_cu.version < OF_11_2) {
        xs_cu.cuMemFreeAsync = NULL;
        xs_cu.cuMemFreeAsync_ptsz = NULL;
        xs_cu.cuMemAllocAsync = NULL;
    }
    atomic_store_explicit(&xs_cu.lacks, lacks, memory_order_relaxed);
    return lacks == NULL;
}

bool xs_cu_find(void *(*look_up)(void *arg, const char *symbol), void *arg)
{
    __typeof__(&cuDriverGetVersion) get_version;
    int version = 0;

    if (xs_cu_ready())
        return true;
    get_version = (__typeof__(&cuDriverGetVersion))(uintptr_t)look_up(arg, "cuDriverGetVersion");
    /* The toolkit's stub answers with an error, and so does a driver that does not fit its kernel:
     * nothing will be allocated there. */
    if (get_version == NULL || get_version(&version) != CUDA_SUCCESS)
        return false;
    xs_lock_take(&fill_lock);
    if (!xs_cu_ready()) {
        xs_cu.version = version;
        if (fill(look_up, arg))
            atomic_store_explicit(&xs_cu.ready, true, memory_order_release);
    }
    xs_lock_give(&fill_lock);
    return xs_cu_ready();
}

void xs_cu_forked(void)
{
    xs_lock_reset(&fill_lock);
}
