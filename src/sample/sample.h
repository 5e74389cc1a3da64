/* sample/sample.h - which blocks are sampled, and what is noted of them.
 *
 * Every byte that is allocated has the same small chance to be the one that is looked at, so a
 * block of s bytes is sampled with 1 - e^(-s/mean), whatever came before. Whoever counts bytes down
 * to something anyway draws his gaps here (xs_sample_gap: the own core's look at the clock); the
 * others ask xs_sample_due. Device blocks are all taken.
 *
 * In a sample nothing is sampled: libunwind, and the C library on its behalf, may allocate.
 * Units:   bytes.
 * Owns:    what sample/table.h and sample/modules.h own.
 * Threads: any.
 * Context: inside malloc, with no lock held. Errno is kept. Allocates: pages.
 * Errors:  a block that cannot be taken in is counted as dropped.
 * Cost:    nothing while it is off, but a look at a word on slow paths.
 */
#ifndef XS_SAMPLE_SAMPLE_H
#define XS_SAMPLE_SAMPLE_H

#include "base/fmt.h"
#include "sample/table.h"
#include "sample/walk.h"

/* At most so many bytes may pass between samples for the own core's blocks to be told from others
 * by where they lie: each sampled one has a page for itself. */
#define XS_SAMPLE_PAGED_FROM ((uint64_t)32 << 10)

struct xs_sample_options {
    uint64_t mean_bytes; /* 1: every block */
    uint64_t seed;       /* 0: another one each time */
    enum xs_unwinder unwinder;
};

/* In our constructor. False: off, with the reason; something may be said with true too. */
bool xs_sample_open(const struct xs_sample_options *o, struct xs_buf *why);

/* Blocks are being sampled. Set once the policy is ready for it (policy/select.c). */
extern XS_HIDDEN bool xs_sample_is_on;

/* The own core draws gaps of its own. */
extern XS_HIDDEN bool xs_sample_is_in_core;

enum xs_sample_where { XS_SAMPLE_DEVICES, XS_SAMPLE_IN_CORE, XS_SAMPLE_IN_FRONT };
void xs_sample_begin(enum xs_sample_where where);

/* Nothing more is sampled, and no system call made for it. */
void xs_sample_end(void);

/* Bytes to the next sample, for who counts by himself. */
int64_t xs_sample_gap(void);

extern XS_HIDDEN XS_TLS int64_t xs_sample_left;
bool xs_sample_due_slow(void);

/* This block is to be sampled. */
XS_INLINE bool xs_sample_due(size_t size)
{
    return XS_UNLIKELY((xs_sample_left -= (int64_t)size) < 0) && xs_sample_due_slow();
}

/* So many blocks of that size a sampled one stands for. */
uint64_t xs_sample_stands_for(size_t size);

/* Notes the block and who asks for it. False: it could not be. */
bool xs_sample_take(void *p, size_t size);

/* Before the block is freed, or moved: true if it was a sampled one. */
bool xs_sample_forget_slow(const void *p, struct xs_sampled *was);

XS_INLINE bool xs_sample_forget(const void *p, struct xs_sampled *was)
{
    return XS_UNLIKELY(xs_table_may_hold(0, p)) && xs_sample_forget_slow(p, was);
}

/* It was not moved after all. */
void xs_sample_restore(const struct xs_sampled *was);

/* The same for memory of a device, and for host memory of the CUDA driver's: their addresses differ
 * from each other. */
extern XS_HIDDEN bool xs_sample_has_devices;
void xs_sample_device(unsigned device, uintptr_t address, size_t size);
void xs_sample_pinned(const void *p, size_t size);
void xs_sample_device_freed(uintptr_t address);

/* For others who want to know who called: the addresses that are returned to, the caller of malloc
 * first, by sample/walk.h alone. 0: not to be had. Whether anything is sampled does not matter. */
void xs_sample_stack_open(void);
uint32_t xs_sample_stack(uintptr_t pc[], uint32_t most);

/* Not from here but from there, the place itself first (plus 1). */
uint32_t xs_sample_stack_from(const struct xs_registers *from, uintptr_t pc[], uint32_t most);

/* An object is about to be closed, and has been. */
void xs_sample_closing(void);
void xs_sample_closed(void);

void xs_sample_fork_prepare(void);
void xs_sample_fork_parent(void);
void xs_sample_fork_child(bool goes_on);

#endif
