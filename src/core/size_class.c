#include "core/size_class.h"

/* Entry i is for the sizes 16 i - 15 to 16 i. */
#define C(class) (class) << XS_CLASS_TABLE_SHIFT
const uint16_t xs_class_table[XS_CLASS_TABLE_MAX / 16 + 1] = {
    C(0),  C(0),  C(1),  C(2),  C(3),  C(4),  C(5),  C(6),  C(7),  C(8),  C(9),  C(10), C(11),
    C(12), C(13), C(14), C(15), C(16), C(16), C(17), C(17), C(18), C(18), C(19), C(19), C(20),
    C(20), C(21), C(21), C(22), C(22), C(23), C(23), C(24), C(24), C(24), C(24), C(25), C(25),
    C(25), C(25), C(26), C(26), C(26), C(26), C(27), C(27), C(27), C(27), C(28), C(28), C(28),
    C(28), C(29), C(29), C(29), C(29), C(30), C(30), C(30), C(30), C(31), C(31), C(31), C(31)};
