/* gpu/piece.h - the back ends `pool` and `bfc`: pieces of larger blocks of the driver's.
 *
 * A piece that was freed goes back to the sub-allocator when it is ready (gpu/epoch.h), for then
 * its bytes may become part of any other. Until then it waits in the order of the frees.
 *
 * Units:   bytes.
 * Owns:    one sub-allocator for each context and back end that is used, and its ranges.
 * Threads: one lock for each; never held across a call of the driver.
 * Context: inside the driver's calls. Allocates: by mmap.
 * Errors:  as said.
 */
#ifndef XS_GPU_PIECE_H
#define XS_GPU_PIECE_H

#include "gpu/core.h"
#include "gpu/sub.h"

/* NOT_SUPPORTED: too large, or beyond the limit: to be served otherwise. *hit: no driver was
 * needed; counted then. */
CUresult xs_gpu_piece_get(struct xs_gpu_shard *s, struct xs_gpu_context *c,
                          enum xs_gpu_backend backend, size_t size, CUdeviceptr *out, bool *hit);

/* Freed, claimed, stamped, no longer counted as in use. `waits`: this free may wait for the device,
 * if it is to be STRICT. */
void xs_gpu_piece_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, bool waits);

/* Is there a piece, used or free, around the address? */
bool xs_gpu_piece_around(CUdeviceptr p, struct xs_sub_block *out, bool *in_use);

/* Is it a piece's, or the first byte of a range? Such is never forwarded to the driver. */
bool xs_gpu_piece_range_at(CUdeviceptr p);

/* Whole free ranges go back to the driver; `unready`: those too whose work the driver would have to
 * wait for. The bytes. */
size_t xs_gpu_pieces_spare(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool unready);

/* Spares at the interval that the device's options name. */
void xs_gpu_pieces_look(struct xs_gpu_shard *s, struct xs_gpu_device *d);

void xs_gpu_pieces_forget(struct xs_gpu_context *c);
uint64_t xs_gpu_pieces_unproven(void);
void xs_gpu_pieces_stats(const struct xs_gpu_device *d, struct xs_gpu_stats *out, bool may_lock);

#endif
