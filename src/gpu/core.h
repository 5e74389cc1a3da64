/* gpu/core.h - what the files behind gpu/gpu.h lend each other.
 *
 * Units, threads, context, errors: as in gpu/gpu.h.
 * Owns: nothing.
 */
#ifndef XS_GPU_CORE_H
#define XS_GPU_CORE_H

#include "gpu/supply.h"

/* Rows of a pitched block, where the driver's answers bear it out. */
#define XS_GPU_PITCH ((size_t)512)

void xs_gpu_options_for(unsigned device, struct xs_gpu_options *out);

/* The calling thread's present context; NULL: it is to ask the driver itself. `s` may be NULL. */
struct xs_gpu_context *xs_gpu_here(struct xs_gpu_shard *s);

/* A cached kind of memory, from the cache or from the driver; counts hits and misses of device
 * memory. */
CUresult xs_gpu_get(struct xs_gpu_shard *s, struct xs_gpu_context *c, unsigned kind, size_t size,
                    CUdeviceptr *out, bool *hit);

/* A block that the program has freed and the caller has claimed. `after`: in this stream's order,
 * and nobody waits; NULL: as STRICT has it. */
CUresult xs_gpu_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, const CUstream *after);

/* A block that was got from the driver elsewhere. */
void xs_gpu_adopt(struct xs_gpu_context *c, unsigned kind, size_t size, CUdeviceptr address);

void xs_gpu_count_failure(struct xs_gpu_shard *s, struct xs_gpu_device *d, CUresult r, size_t size);
CUresult xs_gpu_count_bad_free(struct xs_gpu_shard *s, const struct xs_gpu_block *b);

/* Queued blocks, old blocks, too little free memory (and whether there is, now and then), control:
 * at every 64th free. */
void xs_gpu_look(struct xs_gpu_shard *s);

/* Before the driver is asked for more: is too little of the device's memory free? Then the next
 * free makes room. */
void xs_gpu_watch_free_memory(struct xs_gpu_shard *s, struct xs_gpu_device *d);

/* Managed memory that was handed out in the place of the device's, to the device; and the oldest of
 * what is in use back to the host. As the options have it; what fails is no loss. */
void xs_gpu_move_there(struct xs_gpu_context *c, CUdeviceptr p, size_t size);
void xs_gpu_move_back(struct xs_gpu_shard *s, struct xs_gpu_device *d, uint64_t bytes);

#endif
