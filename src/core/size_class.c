#include "core/size_class.h"

/* Entry i is for the sizes 16 i - 15 to 16 i; from 128 bytes on there are 8 classes to a doubling,
 * so those of the next one have twice as many entries. */
#define C1(c)  (c) << XS_CLASS_TABLE_SHIFT
#define C2(c)  C1(c), C1(c)
#define C4(c)  C2(c), C2(c)
#define C8(c)  C4(c), C4(c)
#define C16(c) C8(c), C8(c)
#define C32(c) C16(c), C16(c)
/* Eight classes from `c` on. */
#define ALL(C, c)                                                                                  \
    C(c), C((c) + 1), C((c) + 2), C((c) + 3), C((c) + 4), C((c) + 5), C((c) + 6), C((c) + 7)

const uint16_t xs_class_table[XS_CLASS_TABLE_MAX / 16 + 1] = {
    C1(0), /* of no bytes */
    ALL(C1, 0), ALL(C1, 8), ALL(C2, 16), ALL(C4, 24), ALL(C8, 32), ALL(C16, 40), ALL(C32, 48),
};
