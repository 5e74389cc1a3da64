/* gpu/sub_bfc.h - core/bfc.h over ranges of device memory, as both kinds of sub-allocator use it;
 * nobody but sub_bfc.c and sub_pool.c includes it. A block's handle is its chunk's number, and what
 * is known of it beyond the chunk lies in its node of the tree. Threads, errors: as gpu/sub.h.
 */
#ifndef XS_GPU_SUB_BFC_H
#define XS_GPU_SUB_BFC_H

#include "core/bfc.h"
#include "gpu/sub_range.h"
#include "gpu/sub_tree.h"

struct xs_sub_bfc {
    struct xs_sub sub;
    struct xs_bfc bfc;
    struct xs_sub_tree tree; /* of the chunks in use */
    uint64_t kept_bytes;     /* in chunks that are in use to the core, but free to the program */
};

/* `bytes` is the size of the kind's whole struct. */
struct xs_sub *xs_sub_bfc_make(size_t bytes, const struct xs_sub_kind *kind, size_t unit,
                               uint64_t limit_bytes);

enum xs_sub_result xs_sub_bfc_take(struct xs_sub *s, size_t size, size_t requested,
                                   struct xs_sub_block *out);
/* The block ends and is merged; it may be one that was kept. */
int xs_sub_bfc_merge(struct xs_sub *s, uint32_t handle);

bool xs_sub_bfc_adopt(struct xs_sub *s, unsigned range);
void xs_sub_bfc_release(struct xs_sub *s);
bool xs_sub_bfc_find(const struct xs_sub *s, unsigned range, uint64_t address,
                     struct xs_sub_block *out, bool *in_use);
uint64_t xs_sub_bfc_largest_free(const struct xs_sub *s);
bool xs_sub_bfc_check(const struct xs_sub *s, struct xs_buf *why);
void xs_sub_bfc_close(struct xs_sub *s);

#endif
