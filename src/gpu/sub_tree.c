#include "gpu/sub_tree.h"

#include "sys/mem.h"

#define BLOCK_BYTES (XS_SUB_TREE_NODES * sizeof(struct xs_sub_node))

static struct xs_sub_node *node(const struct xs_sub_tree *t, uint32_t n)
{
    return xs_sub_tree_node(t, n);
}

/* Any mixing of the bits will do; it need not be secret. */
static uint32_t priority(uint32_t n)
{
    n = (n ^ n >> 15) * 0x9E3779B1u;
    n = (n ^ n >> 13) * 0x85EBCA6Bu;
    return n ^ n >> 16;
}

/* Divides the tree `n` into what lies below `address` and the rest. */
static void split(struct xs_sub_tree *t, uint32_t n, uint64_t address, uint32_t *low,
                  uint32_t *high)
{
    while (n != 0) {
        if (node(t, n)->address < address) {
            *low = n;
            low = &node(t, n)->right;
            n = *low;
        } else {
            *high = n;
            high = &node(t, n)->left;
            n = *high;
        }
    }
    *low = 0;
    *high = 0;
}

bool xs_sub_tree_insert(struct xs_sub_tree *t, uint32_t number, uint64_t address)
{
    uint32_t *link = &t->root;
    uint32_t mine = priority(number);

    if (t->block[number / XS_SUB_TREE_NODES] == NULL) {
        struct xs_sub_node *fresh = xs_mem_map(BLOCK_BYTES, 1);
        if (fresh == NULL)
            return false;
        t->block[number / XS_SUB_TREE_NODES] = fresh;
    }
    while (*link != 0 && priority(*link) >= mine)
        link = address < node(t, *link)->address ? &node(t, *link)->left : &node(t, *link)->right;
    struct xs_sub_node *fresh = node(t, number);
    fresh->address = address;
    split(t, *link, address, &fresh->left, &fresh->right);
    *link = number;
    return true;
}

void xs_sub_tree_remove(struct xs_sub_tree *t, uint32_t number)
{
    uint64_t address = node(t, number)->address;
    uint32_t *link = &t->root;

    while (*link != number)
        link = address < node(t, *link)->address ? &node(t, *link)->left : &node(t, *link)->right;
    uint32_t low = node(t, number)->left;
    uint32_t high = node(t, number)->right;
    while (low != 0 && high != 0) {
        if (priority(low) >= priority(high)) {
            *link = low;
            link = &node(t, low)->right;
            low = *link;
        } else {
            *link = high;
            link = &node(t, high)->left;
            high = *link;
        }
    }
    *link = low != 0 ? low : high;
}

uint32_t xs_sub_tree_at(const struct xs_sub_tree *t, uint64_t address)
{
    uint32_t best = 0;

    for (uint32_t n = t->root; n != 0;) {
        if (node(t, n)->address <= address) {
            best = n;
            n = node(t, n)->right;
        } else {
            n = node(t, n)->left;
        }
    }
    return best;
}

uint32_t xs_sub_tree_above(const struct xs_sub_tree *t, uint64_t address)
{
    uint32_t best = 0;

    for (uint32_t n = t->root; n != 0;) {
        if (node(t, n)->address > address) {
            best = n;
            n = node(t, n)->left;
        } else {
            n = node(t, n)->right;
        }
    }
    return best;
}

void xs_sub_tree_close(struct xs_sub_tree *t)
{
    for (unsigned i = 0; i < XS_SUB_TREE_BLOCKS; i++)
        if (t->block[i] != NULL)
            (void)xs_mem_unmap(t->block[i], BLOCK_BYTES);
}
