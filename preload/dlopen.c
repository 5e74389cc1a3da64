/* dlopen without RTLD_DEEPBIND.
 *
 * A library loaded with that flag calls glibc's free directly, on blocks that another back end
 * made. The real dlopen reads its caller's address (for RPATH, and for RTLD_NEXT), so it is entered
 * by a jump that leaves the return address alone. C cannot promise a jump, hence the assembler.
 */
#include <dlfcn.h>

#include "preload/lifecycle.h"
#include "sys/elf.h"

/* Of the flags, those that reach the real function. */
XS_HIDDEN uint32_t xs_dlopen_mask = UINT32_MAX;

/* The real function; until the first call, one that finds it. */
extern XS_HIDDEN void *xs_dlopen_next;
XS_HIDDEN void xs_dlopen_find(void);
void *xs_dlopen_next;

void xs_dlopen_find(void)
{
    xs_dlopen_next = xs_elf_next("dlopen");
}

void xs_dlopen_strip_deepbind(void)
{
    xs_dlopen_mask = ~(uint32_t)RTLD_DEEPBIND;
}

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".globl dlopen\n"
        ".type dlopen, @function\n"
        "dlopen:\n"
        "    .cfi_startproc\n"
        "    andl xs_dlopen_mask(%rip), %esi\n"
        "    movq xs_dlopen_next(%rip), %rax\n"
        "    testq %rax, %rax\n"
        "    je 1f\n"
        "    jmp *%rax\n"
        "1:  pushq %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    subq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call xs_dlopen_find\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    jmp *xs_dlopen_next(%rip)\n"
        "    .cfi_endproc\n"
        ".size dlopen, .-dlopen\n"
        ".popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n"
        ".globl dlopen\n"
        ".type dlopen, %function\n"
        "dlopen:\n"
        "    .cfi_startproc\n"
        "    adrp x9, xs_dlopen_mask\n"
        "    ldr w9, [x9, :lo12:xs_dlopen_mask]\n"
        "    and w1, w1, w9\n"
        "    adrp x9, xs_dlopen_next\n"
        "    ldr x9, [x9, :lo12:xs_dlopen_next]\n"
        "    cbz x9, 1f\n"
        "    br x9\n"
        "1:  stp x29, x30, [sp, #-32]!\n"
        "    .cfi_adjust_cfa_offset 32\n"
        "    stp x0, x1, [sp, #16]\n"
        "    bl xs_dlopen_find\n"
        "    ldp x0, x1, [sp, #16]\n"
        "    ldp x29, x30, [sp], #32\n"
        "    .cfi_adjust_cfa_offset -32\n"
        "    adrp x9, xs_dlopen_next\n"
        "    ldr x9, [x9, :lo12:xs_dlopen_next]\n"
        "    br x9\n"
        "    .cfi_endproc\n"
        ".size dlopen, .-dlopen\n"
        ".popsection\n");
#else
#error "write the jump for this processor"
#endif
