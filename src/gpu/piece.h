/* gpu/piece.h - the back ends `pool` and `bfc`: pieces of larger blocks of the driver's.
 *
 * A piece that was freed stays with the thread that freed it (gpu/cache.h), whole, for the next
 * request of its size. It goes back to the sub-allocator, where its bytes may become part of any
 * other piece, when a request finds no room there, when there is no room in the cache, and when
 * nobody wanted it for some thousands of frees: only if it is ready (gpu/epoch.h); what is not
 * waits in the order of the frees.
 *   Memory whose meaning was changed for good, as for a device that is not ours, is never used
 * again: its range goes back to the driver once nothing else in it is in use.
 *
 * Units:   bytes.
 * Owns:    one sub-allocator for each thread, context and back end that is used, and its ranges.
 * Threads: one lock for each (gpu/range.h); never held across a call of the driver, and not taken
 *          for a piece that comes from the thread's own cache. No lock of another thread's is
 *          taken while the thread's own ranges have room.
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
                          enum xs_gpu_backend backend, size_t size, void *stream, CUdeviceptr *out,
                          bool *hit);

/* The same of a size that was served before, not by what is cached, for a thread's own shard that
 * is quick; NOT_SUPPORTED: not so, and nothing is counted. */
CUresult xs_gpu_piece_cut(struct xs_gpu_shard *s, struct xs_gpu_bins *bins, unsigned bin,
                          struct xs_gpu_range *r, size_t size, CUdeviceptr *out);

/* Freed, claimed, stamped, no longer counted as in use. `waits`: this free may wait for the device,
 * if it is to be STRICT. */
void xs_gpu_piece_put(struct xs_gpu_shard *s, struct xs_gpu_block *b, bool waits);

/* A cached piece that is in no list any more and whose context is held: back to its sub-allocator,
 * the context let go. */
void xs_gpu_piece_return(struct xs_gpu_block *b);

/* Is there a piece, used or free, around the address? One that is cached is in use here. */
bool xs_gpu_piece_around(CUdeviceptr p, struct xs_sub_block *out, bool *in_use);

/* Is it a piece's, or the first byte of a range? Such is never forwarded to the driver. */
bool xs_gpu_piece_range_at(CUdeviceptr p);

/* Whole free ranges go back to the driver; `unready`: those too whose work the driver would have to
 * wait for. The bytes. */
size_t xs_gpu_pieces_spare(struct xs_gpu_shard *s, struct xs_gpu_device *d, bool unready);

/* After what is ready has gone back to the sub-allocators: bytes in pieces that are cached still,
 * and in ranges that are wholly free. */
void xs_gpu_pieces_idle(struct xs_gpu_shard *s, struct xs_gpu_device *d, uint64_t *cached,
                        uint64_t *idle);

/* At every look (gpu/core.h): what nobody wanted, and spares at the interval of the options. */
void xs_gpu_pieces_look(struct xs_gpu_shard *s, struct xs_gpu_device *d);

void xs_gpu_pieces_forget(struct xs_gpu_context *c);
uint64_t xs_gpu_pieces_unproven(void);
void xs_gpu_pieces_stats(const struct xs_gpu_device *d, struct xs_gpu_stats *out, bool may_lock);

#endif
