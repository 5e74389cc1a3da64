/* core/size_class.h - the sizes that blocks are rounded up to.
 *
 * Steps of 16 bytes to 128, then 8 to each doubling (size_class.c says where not), so that a
 * block is at most 12.5 % larger than what was asked (below 128 bytes: at most 15 bytes). The lower
 * ones are served from slabs, the upper ones are chunks of the BFC, whole pages each. The lowest,
 * to XS_CLASS_TABLE_MAX, are not numbered by size: what small processes ask for has the first
 * numbers, so that what a heap keeps of it lies side by side.
 * Units:   bytes.
 * Context: anywhere; pure functions.
 */
#ifndef XS_CORE_SIZE_CLASS_H
#define XS_CORE_SIZE_CLASS_H

#include "base/compiler.h"

#define XS_CLASS_SLABS     88u /* classes below this one are objects in slabs */
#define XS_CLASS_COUNT     128u
#define XS_SLAB_MAX_BYTES  ((size_t)64 << 10)
#define XS_CLASS_MAX_BYTES ((size_t)2 << 20)

/* Sizes up to this one find their class in a table. */
#define XS_CLASS_TABLE_MAX ((size_t)8208)
#define XS_CLASS_UPPER     64u /* classes from this one on are of larger sizes, by size */

/* XS_CLASS_TABLE_MAX < `size` <= XS_CLASS_MAX_BYTES. */
XS_INLINE unsigned xs_class_of_upper(size_t size)
{
    size_t last = size - 1;
    unsigned log2 = 63u ^ (unsigned)__builtin_clzll(last);

    /* last >> (log2 - 3) is 8 to 15. */
    return (log2 - 6) * 8 + (unsigned)(last >> (log2 - 3));
}

/* Of sizes to XS_CLASS_TABLE_MAX, in steps of 16; and the bytes of these classes. */
extern XS_HIDDEN const uint8_t xs_class_table[XS_CLASS_TABLE_MAX / 16 + 1];
extern XS_HIDDEN const uint16_t xs_class_table_bytes[XS_CLASS_UPPER];

/* A bit for each class below XS_CLASS_UPPER: of more than 4 KiB. All others are, too. */
extern XS_HIDDEN const uint64_t xs_class_above_page;

/* `size` <= XS_CLASS_MAX_BYTES; 0 counts as 1. */
XS_INLINE unsigned xs_class_of(size_t size)
{
    return size <= XS_CLASS_TABLE_MAX ? xs_class_table[(size + 15) / 16] : xs_class_of_upper(size);
}

/* `c` >= XS_CLASS_UPPER. */
XS_INLINE size_t xs_class_bytes_upper(unsigned c)
{
    return (size_t)(8 + (c & 7) + 1) << ((c >> 3) + 2);
}

/* Bytes of a block of that class; a multiple of 16. */
XS_INLINE size_t xs_class_bytes(unsigned c)
{
    return c < XS_CLASS_UPPER ? xs_class_table_bytes[c] : xs_class_bytes_upper(c);
}

#endif
