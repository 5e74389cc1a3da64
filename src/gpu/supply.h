/* gpu/supply.h - memory from the driver and back to it, and what to do when there is none.
 *
 * Units:   bytes.
 * Owns:    nothing.
 * Threads: any. No lock is held across the driver's calls. Nothing is given back during a capture.
 * Context: inside the driver's calls. Giving back may wait for the device, as the driver does: it
 *          happens inside frees, on request, and in allocations only when memory is out.
 * Errors:  the driver's.
 */
#ifndef XS_GPU_SUPPLY_H
#define XS_GPU_SUPPLY_H

#include "gpu/cache.h"

/* A new block of `size`, or when that much is not to be had, of `exact`. */
CUresult xs_gpu_supply(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind, size_t size,
                       size_t exact, CUdeviceptr *out);

/* Gives back the oldest cached blocks up to v->bytes; counts them as evictions or not. */
bool xs_gpu_evict(struct xs_gpu_shard *s, struct xs_gpu_victims *v, bool by_limit);

/* A freed block (claimed, stamped, no longer counted as in use) into the cache, with what has to go
 * for it; else back to the driver, if `after` is given once that stream is done. */
CUresult xs_gpu_keep(struct xs_gpu_shard *s, struct xs_gpu_block *b, const CUstream *after);

/* What was freed during captures, unless one is active: into the cache. `all`: other threads' too.
 */
void xs_gpu_unqueue(struct xs_gpu_shard *s, bool all);

/* Cached memory of the device goes back, in up to three steps: what is ready; what gets ready
 * within a bounded time; and what is not, for which the driver waits, as it would have done
 * natively in each of the frees. True: something went, and *effort is the next step. */
enum xs_gpu_effort { XS_GPU_AT_ONCE, XS_GPU_BOUNDED, XS_GPU_BY_DRIVER };
bool xs_gpu_flush(struct xs_gpu_shard *s, struct xs_gpu_device *d, enum xs_gpu_effort *effort);

/* What there may be to give back, pinned memory too. */
uint64_t xs_gpu_kept_bytes(const struct xs_gpu_device *d);

#endif
