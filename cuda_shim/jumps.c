/* What only the assembler can say: jumps that leave arguments, stack and return address as they
 * are.
 *
 * dlsym and dlvsym: the real ones read their caller's address (RTLD_NEXT, RTLD_DEFAULT), so they
 *   are entered by a jump. Names that do not begin with "cu" see nothing else of us.
 * The exported names of the driver: one jump through xs_shim_slot. They bear a version that is not
 *   the default, number 2: the loader takes them for references of programs, which name no version
 *   of libcuda's, and dlsym does not see them. So a process without CUDA looks as if they were not
 *   there.
 * Calls on a stream: the argument is compared with CU_STREAM_PER_THREAD, whatever the signature;
 * the forms for per-thread default streams are such a sign by being called. (The runtime looks both
 *   forms up in every program, so being looked up is none.)
 */
#include "cuda_shim/shim.h"

extern XS_HIDDEN const int32_t xs_shim_entry[XS_HOOK_COUNT]; /* from the table's beginning */

void *xs_hook_entry(enum xs_hook hook)
{
    return (char *)(uintptr_t)xs_shim_entry + xs_shim_entry[hook];
}

#define FUNCTION(name, type)                                                                       \
    ".globl " name "\n.type " name ", " type "\n" name ":\n.cfi_startproc\n"
#define HIDDEN_FUNCTION(name, type) ".hidden " name "\n" FUNCTION(name, type)
#define END(name)                   ".cfi_endproc\n.size " name ", .-" name "\n"

#if defined(__x86_64__)
/* Nine words: with the return address the stack is aligned for a call. */
#define SAVE                                                                                       \
    "push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n push %rax\n"            \
    "push %r10\n push %r11\n.cfi_adjust_cfa_offset 72\n"
#define RESTORE                                                                                    \
    "pop %r11\n pop %r10\n pop %rax\n pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n"        \
    "pop %rdi\n.cfi_adjust_cfa_offset -72\n"
#define TYPE "@function"

/* In: %r11d is the hook. */
#define BIND                                                                                       \
    HIDDEN_FUNCTION("xs_shim_bind_slot", TYPE)                                                     \
    SAVE "mov %r11d, %edi\n call xs_shim_bind\n mov %rax, (%rsp)\n" RESTORE                        \
         "jmp *%r11\n" END("xs_shim_bind_slot")
/* In: %r11 is where to go on. */
#define SEEN                                                                                       \
    HIDDEN_FUNCTION("xs_shim_slow", TYPE)                                                          \
    SAVE "call xs_shim_stream_seen\n" RESTORE "jmp *%r11\n" END("xs_shim_slow")

/* In: the third argument of the filter is ready. Out of the filter: an address, or NULL. */
#define LOOK_UP(name, version)                                                                     \
    FUNCTION(name, TYPE)                                                                           \
    "test %rsi, %rsi\n je 1f\n cmpb $'c', (%rsi)\n jne 1f\n cmpb $'u', 1(%rsi)\n je 2f\n"          \
    "1: mov xs_next_" name "(%rip), %r11\n test %r11, %r11\n je 3f\n jmp *%r11\n"                  \
    "2:\n" SAVE "mov 72(%rsp), %rcx\n" version "call xs_shim_found\n mov %rax, (%rsp)\n" RESTORE   \
    "test %r11, %r11\n je 1b\n mov %r11, %rax\n ret\n"                                             \
    "3:\n" SAVE "call xs_shim_next_find\n" RESTORE "jmp *xs_next_" name "(%rip)\n" END(name)
#define NO_VERSION "xor %edx, %edx\n"

/* xs_n is the hook's number. */
#define EXPORTED(symbol)                                                                           \
    FUNCTION("xs_export_" symbol, TYPE)                                                            \
    "mov xs_shim_slot+8*xs_n(%rip), %r11\n test %r11, %r11\n je 1f\n jmp *%r11\n"                  \
    "1: mov $xs_n, %r11d\n jmp xs_shim_bind_slot\n" END("xs_export_" symbol)
#define IF_STREAM(compare)                                                                         \
    compare "je 1f\n2: jmp *xs_shim_real+8*xs_n(%rip)\n"                                           \
            "1: mov xs_shim_real+8*xs_n(%rip), %r11\n jmp xs_shim_slow\n"
#define AT_0   "cmp $2, %rdi\n"
#define AT_1   "cmp $2, %rsi\n"
#define AT_2   "cmp $2, %rdx\n"
#define AT_3   "cmp $2, %rcx\n"
#define AT_4   "cmp $2, %r8\n"
#define AT_5   "cmp $2, %r9\n"
#define AT_7   "cmpq $2, 16(%rsp)\n"
#define AT_8   "cmpq $2, 24(%rsp)\n"
#define IF_NEW "cmpb $0, xs_shim_stream_noted(%rip)\n"

#elif defined(__aarch64__)
#define SAVE                                                                                       \
    "stp x29, x30, [sp, #-112]!\n.cfi_adjust_cfa_offset 112\n.cfi_rel_offset x30, 8\n"             \
    "stp x0, x1, [sp, #16]\n stp x2, x3, [sp, #32]\n stp x4, x5, [sp, #48]\n"                      \
    "stp x6, x7, [sp, #64]\n stp x8, x16, [sp, #80]\n str x17, [sp, #96]\n"
#define RESTORE                                                                                    \
    "ldp x0, x1, [sp, #16]\n ldp x2, x3, [sp, #32]\n ldp x4, x5, [sp, #48]\n"                      \
    "ldp x6, x7, [sp, #64]\n ldp x8, x16, [sp, #80]\n ldr x17, [sp, #96]\n"                        \
    "ldp x29, x30, [sp], #112\n.cfi_restore x30\n.cfi_adjust_cfa_offset -112\n"
#define TYPE                  "%function"
#define LOAD(register, place) "adrp x16, " place "\n ldr " register ", [x16, :lo12:" place "]\n"

/* In: w17 is the hook. */
#define BIND                                                                                       \
    HIDDEN_FUNCTION("xs_shim_bind_slot", TYPE)                                                     \
    SAVE "mov w0, w17\n bl xs_shim_bind\n str x0, [sp, #88]\n" RESTORE                             \
         "br x16\n" END("xs_shim_bind_slot")
/* In: x16 is where to go on. */
#define SEEN                                                                                       \
    HIDDEN_FUNCTION("xs_shim_slow", TYPE)                                                          \
    SAVE "bl xs_shim_stream_seen\n" RESTORE "br x16\n" END("xs_shim_slow")

#define LOOK_UP(name, version)                                                                     \
    FUNCTION(name, TYPE)                                                                           \
    "cbz x1, 1f\n ldrb w16, [x1]\n cmp w16, #'c'\n b.ne 1f\n ldrb w16, [x1, #1]\n"                 \
    "cmp w16, #'u'\n b.eq 2f\n"                                                                    \
    "1:\n" LOAD("x16", "xs_next_" name) "cbz x16, 3f\n br x16\n"                                   \
                                        "2:\n" SAVE "mov x3, x30\n" version                        \
                                        "bl xs_shim_found\n str x0, [sp, #88]\n" RESTORE           \
                                        "cbz x16, 1b\n mov x0, x16\n ret\n"                        \
                                        "3:\n" SAVE "bl xs_shim_next_find\n" RESTORE LOAD(         \
                                            "x16", "xs_next_" name) "br x16\n" END(name)
#define NO_VERSION "mov x2, #0\n"

#define EXPORTED(symbol)                                                                           \
    FUNCTION("xs_export_" symbol, TYPE)                                                            \
    LOAD("x16", "xs_shim_slot+8*xs_n")                                                             \
    "cbz x16, 1f\n br x16\n"                                                                       \
    "1: mov w17, #xs_n\n b xs_shim_bind_slot\n" END("xs_export_" symbol)
#define IF_STREAM(compare)                                                                         \
    LOAD("x16", "xs_shim_real+8*xs_n") compare "b.eq xs_shim_slow\n2: br x16\n"
#define AT_0 "cmp x0, #2\n"
#define AT_1 "cmp x1, #2\n"
#define AT_2 "cmp x2, #2\n"
#define AT_3 "cmp x3, #2\n"
#define AT_4 "cmp x4, #2\n"
#define AT_5 "cmp x5, #2\n"
#define AT_7 "cmp x7, #2\n"
#define AT_8 "ldr x17, [sp]\n cmp x17, #2\n"
#define IF_NEW                                                                                     \
    "adrp x17, xs_shim_stream_noted\n ldrb w17, [x17, :lo12:xs_shim_stream_noted]\n cmp w17, #0\n"

#else
#error "write the jumps for this processor"
#endif

__asm__(".pushsection .text\n" BIND SEEN LOOK_UP("dlsym", NO_VERSION)
            LOOK_UP("dlvsym", "") ".popsection\n");

#define ENTRY(symbol)                                                                              \
    ".pushsection .rodata.xs_shim_entry, \"a\"\n.long xs_do_" symbol " - xs_shim_entry\n"          \
    ".popsection\n"
#define EXPORT(symbol)                                                                             \
    EXPORTED(symbol)                                                                               \
    ".symver xs_export_" symbol ", " symbol "@XSIGMA_CUDA\n" ENTRY(symbol) ".set xs_n, xs_n + 1\n"
#define STREAM(symbol, compare)                                                                    \
    HIDDEN_FUNCTION("xs_do_" symbol, TYPE)                                                         \
    IF_STREAM(compare) END("xs_do_" symbol) EXPORT(symbol)

__asm__(
    ".pushsection .rodata.xs_shim_entry, \"a\"\n.balign 4\n.hidden xs_shim_entry\n"
    ".globl xs_shim_entry\nxs_shim_entry:\n.popsection\n"
    ".set xs_n, 0\n"
    /* Not beside dlsym, which every program runs: two pages that only programs with CUDA need. */
    ".pushsection .text.exports, \"ax\", %progbits\n"
#define X(name, version, per_thread, symbol) EXPORT(#symbol)
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where) STREAM(#symbol, AT_##where) STREAM(#symbol "_ptsz", IF_NEW)
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) STREAM(#symbol, AT_##where)
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) STREAM(#symbol "_ptds", IF_NEW)
                XS_HOOK_THREADS(X)
#undef X
                    ".popsection\n");
