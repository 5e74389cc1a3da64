/* ops.h - the operations of a program, one function for each. */
#ifndef XS_TESTS_PROPERTY_OPS_H
#define XS_TESTS_PROPERTY_OPS_H

#include "model.h"

#define X(name, weight, where) void op_##name(const struct op *op);
OPERATIONS(X)
#undef X

/* For hold, which does some of the others' work while a kernel runs on. */
void malloc_one(size_t size, uint32_t r);
void free_one(struct block *b, uint32_t r);
bool free_may_not_wait(int device);
bool freeable(const struct block *b);
size_t drawn_size(uint32_t r);
/* A block of a context that is going: the driver takes it. */
void block_lost(struct block *b);
void captured_touch(int capture, uint32_t r);
extern __thread bool thread_ends; /* set by thread_end */
void close_captures(void);        /* of this thread */

#endif
