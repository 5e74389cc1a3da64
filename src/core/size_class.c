#include "core/size_class.h"

/* Number, the size of the class below, bytes. At the end of a doubling a step may be two without
 * wasting more than 12.5 %: so there is none of 7680. Others stand between the steps, for what
 * programs ask for by the thousand: powers of two and 8,000 with a header behind or before them,
 * pages of 4 KiB with what is noted of them (4384), a hundred records at once (4800). */
// clang-format off
#define CLASSES(X) \
    X(0, 0, 16) X(1, 16, 32) X(2, 32, 48) X(3, 48, 64) X(9, 64, 80) X(10, 80, 96) X(11, 96, 112) \
    X(4, 112, 128) X(12, 128, 144) X(13, 144, 160) X(14, 160, 176) X(15, 176, 192) \
    X(16, 192, 208) X(17, 208, 224) X(18, 224, 240) X(5, 240, 256) X(56, 256, 272) \
    X(25, 272, 288) X(26, 288, 320) X(27, 320, 352) X(28, 352, 384) X(57, 384, 400) \
    X(29, 400, 416) X(30, 416, 448) X(31, 448, 480) X(6, 480, 512) X(58, 512, 528) \
    X(32, 528, 576) X(33, 576, 640) X(34, 640, 704) X(35, 704, 768) X(36, 768, 832) \
    X(37, 832, 896) X(38, 896, 960) X(7, 960, 1024) X(59, 1024, 1040) X(40, 1040, 1152) \
    X(39, 1152, 1280) X(22, 1280, 1408) X(41, 1408, 1536) X(23, 1536, 1664) X(42, 1664, 1792) \
    X(43, 1792, 1920) X(19, 1920, 2048) X(60, 2048, 2064) X(44, 2064, 2304) X(45, 2304, 2560) \
    X(46, 2560, 2816) X(47, 2816, 3072) X(48, 3072, 3328) X(49, 3328, 3584) X(50, 3584, 3840) \
    X(8, 3840, 4096) X(61, 4096, 4112) X(24, 4112, 4384) X(20, 4384, 4800) X(51, 4800, 5120) \
    X(52, 5120, 5632) X(53, 5632, 6144) X(54, 6144, 6656) X(55, 6656, 7168) X(62, 7168, 8032) \
    X(21, 8032, 8192) X(63, 8192, 8208)
// clang-format on

#define STEPS(number, below, bytes)      [(below) / 16 + 1 ...(bytes) / 16] = (number),
#define BYTES(number, below, bytes)      [number] = (bytes),
#define ABOVE_PAGE(number, below, bytes) | (uint64_t)((bytes) > 4096) << (number)

const uint8_t xs_class_table[XS_CLASS_TABLE_MAX / 16 + 1] = {CLASSES(STEPS)};
const uint16_t xs_class_table_bytes[XS_CLASS_UPPER] = {CLASSES(BYTES)};
const uint64_t xs_class_above_page = 0 CLASSES(ABOVE_PAGE);
