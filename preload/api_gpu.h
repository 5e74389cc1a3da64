/* preload/api_gpu.h - the part of xsigma.h that is about devices, as far as api.c needs it.
 * Units:   bytes.
 * Owns:    one reference to the primary context of each device that it had to bring up.
 * Threads: any. Context: the program's calls. Allocates: never itself.
 * Errors:  as xsigma.h.
 */
#ifndef XS_PRELOAD_API_GPU_H
#define XS_PRELOAD_API_GPU_H

#include "base/compiler.h"
#include "xsigma.h"

XS_INLINE bool xs_api_wants_device(const struct xsigma_attr *attr)
{
    return attr != NULL && attr->attr_size >= sizeof(*attr) && attr->device != XSIGMA_HOST;
}

int xs_api_device_alloc(void **out, size_t size, const struct xsigma_attr *attr);

bool xs_api_is_device_block(const void *block);

/* False if it is no device block. */
bool xs_api_device_free(void *block);

#endif
