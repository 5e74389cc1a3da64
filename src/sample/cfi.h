/* sample/cfi.h - where the caller of a function is, by the tables that exceptions are thrown with.
 *
 * Of a frame three registers matter: where it is in the code, its stack pointer and its frame
 * pointer. A rule gives the caller's from these. What a rule cannot say (other registers, signal
 * frames) is left to libunwind.
 * Units:   addresses.
 * Threads: any. Context: a sample. Allocates: never.
 * Errors:  XS_CFI_NONE = no rule that can be used.
 * Source:  DWARF 5, 6.4; the Linux Standard Base, 10.6, for .eh_frame and .eh_frame_hdr.
 */
#ifndef XS_SAMPLE_CFI_H
#define XS_SAMPLE_CFI_H

#include "base/compiler.h"

enum xs_cfi_kind {
    XS_CFI_NONE,
    XS_CFI_CALLER, /* there is one */
    XS_CFI_FIRST,  /* nobody called it */
    XS_CFI_GUESS,  /* perhaps there is one: code in no object may keep frame pointers */
};

/* The frame's address, which is the caller's stack pointer: a register and an offset, or what is
 * stored there. */
enum xs_cfi_cfa { XS_CFI_SP_PLUS, XS_CFI_FP_PLUS, XS_CFI_AT_FP };
/* The caller's frame pointer: still in its register, or stored. */
enum xs_cfi_fp { XS_CFI_FP_SAME, XS_CFI_FP_AT_CFA, XS_CFI_FP_AT_FP };

struct xs_cfi {
    uint8_t kind; /* enum xs_cfi_kind */
    uint8_t cfa;  /* enum xs_cfi_cfa */
    uint8_t fp;   /* enum xs_cfi_fp */
    int32_t cfa_offset;
    int32_t fp_offset;
    int32_t ra_offset; /* of the address that is returned to, from the frame's */
};

/* A loaded object's search table (PT_GNU_EH_FRAME), and where the object lies. */
struct xs_cfi_table {
    uintptr_t header;
    uintptr_t start;
    uintptr_t end;
};

struct xs_cfi xs_cfi_find(const struct xs_cfi_table *t, uintptr_t address);

#endif
