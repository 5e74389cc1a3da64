/* dlclose, looked at before and after. */
#include <dlfcn.h>
#include <stdatomic.h>

#include "preload/exports.h"
#include "sample/sample.h"
#include "sys/elf.h"

typedef int close_object(void *handle);

XS_EXPORT int dlclose(void *handle)
{
    static _Atomic(close_object *) found;
    close_object *next = atomic_load_explicit(&found, memory_order_relaxed);

    if (next == NULL) {
        next = (close_object *)(uintptr_t)xs_elf_next("dlclose");
        atomic_store_explicit(&found, next, memory_order_relaxed);
    }
    xs_sample_closing();
    int rc = next(handle);
    xs_sample_closed();
    return rc;
}
