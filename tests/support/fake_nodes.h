/* A fake of the system calls that tell of the nodes of memory: which there are, where the caller
 * runs, and which policy each range got. */
#ifndef XS_TESTS_FAKE_NODES_H
#define XS_TESTS_FAKE_NODES_H

#include <criterion/criterion.h>

#include "sys/numa.h"

static unsigned long nodes_there;
static unsigned node_here;
static unsigned binds;
static int last_mode;
static unsigned long last_mask;
static unsigned long masks_seen;

static long get_mempolicy(int *mode, unsigned long *mask, unsigned long bits, void *at, int flags)
{
    (void)mode;
    (void)at;
    cr_assert_eq(flags, 4);
    cr_assert_geq(bits, 64u);
    mask[0] = nodes_there;
    return 0;
}

static long mbind_(void *p, unsigned long size, int mode, const unsigned long *mask,
                   unsigned long bits, unsigned flags)
{
    cr_assert(p != NULL && size != 0 && bits >= 64 && flags == 0);
    binds++;
    last_mode = mode;
    last_mask = mask[0];
    masks_seen |= mask[0];
    return 0;
}

static int getcpu_(unsigned *cpu, unsigned *node)
{
    *cpu = 0;
    *node = node_here;
    return 0;
}

static void fake(unsigned long nodes)
{
    xs_numa_calls = (struct xs_numa_calls){get_mempolicy, mbind_, getcpu_};
    nodes_there = nodes;
    binds = 0;
    masks_seen = 0;
    node_here = 0;
}

#endif
