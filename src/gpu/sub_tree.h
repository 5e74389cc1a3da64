/* gpu/sub_tree.h - numbers in the order of addresses, for the block around an address.
 *
 * A treap whose priorities are hashes of the numbers: all steps expected O(log n), without
 * recursion. Owns:    its nodes, by mmap, until xs_sub_tree_close. A node's number is the caller's.
 * Threads: the caller's lock. Errors: false = no memory for the node.
 * Source:  Seidel and Aragon, Randomized Search Trees, 1996.
 */
#ifndef XS_GPU_SUB_TREE_H
#define XS_GPU_SUB_TREE_H

#include "base/compiler.h"

#define XS_SUB_TREE_BLOCKS 4096u
#define XS_SUB_TREE_NODES  4096u /* in a block */

struct xs_sub_node {
    uint64_t address;
    uint32_t left, right; /* 0: none */
    /* Not the tree's: what its users keep with a block. */
    uint32_t next;
    bool is_kept;
    uint64_t requested;
};

struct xs_sub_tree {
    uint32_t root;
    struct xs_sub_node *block[XS_SUB_TREE_BLOCKS];
};

/* `number` is not 0, below BLOCKS * NODES and not in the tree, nor is the address. */
bool xs_sub_tree_insert(struct xs_sub_tree *t, uint32_t number, uint64_t address);
void xs_sub_tree_remove(struct xs_sub_tree *t, uint32_t number);

/* The number with the highest address <= `address`, and with the lowest above it; 0: none. */
uint32_t xs_sub_tree_at(const struct xs_sub_tree *t, uint64_t address);
uint32_t xs_sub_tree_above(const struct xs_sub_tree *t, uint64_t address);

static inline struct xs_sub_node *xs_sub_tree_node(const struct xs_sub_tree *t, uint32_t number)
{
    return &t->block[number / XS_SUB_TREE_NODES][number % XS_SUB_TREE_NODES];
}

void xs_sub_tree_close(struct xs_sub_tree *t);

#endif
