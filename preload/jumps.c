/* Functions that we only look at in passing: dlopen, prctl, syscall, clone.
 *
 * They are entered by a jump that leaves return address and arguments as they are: the real dlopen
 * reads its caller's address (for RPATH, and for RTLD_NEXT), the others take what arguments they
 * like, and a child that shares its parent's memory may return by another stack. C cannot promise a
 * jump, hence the assembler.
 */
#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>

#include "core/keeper.h"
#include "preload/clone.h"
#include "preload/finish.h"
#include "preload/lifecycle.h"
#include "sample/sample.h"
#include "sys/elf.h"
#include "sys/filter.h"
#include "sys/proc.h"

/* Of dlopen's flags, those that reach the real function. A library loaded with RTLD_DEEPBIND calls
 * glibc's free directly, on blocks that another back end made. */
XS_HIDDEN uint32_t xs_dlopen_mask = UINT32_MAX;

/* The real functions; NULL until the first call. */
XS_HIDDEN void *xs_next_dlopen;
XS_HIDDEN void *xs_next_prctl;
XS_HIDDEN void *xs_next_syscall;
XS_HIDDEN void *xs_next_clone;

XS_HIDDEN void xs_jumps_find(void);
XS_HIDDEN void xs_jumps_seccomp(void);
XS_HIDDEN int xs_jumps_syscall(long number, long a, long b);

void xs_jumps_find(void)
{
    xs_next_dlopen = xs_elf_next("dlopen");
    xs_next_prctl = xs_elf_next("prctl");
    xs_next_syscall = xs_elf_next("syscall");
    xs_next_clone = xs_elf_next("clone");
}

/* A filter of system calls is about to be set: the report's own would kill the process. A child of
 * vfork puts it over itself alone, and what it changes here is its parent's. */
void xs_jumps_seccomp(void)
{
    int saved = errno;
    bool is_others = xs_is_filtered() || xs_proc_is_in_parent();

    errno = saved;
    if (is_others)
        return;
    xs_keep_silent();
    xs_sample_end();
    xs_filter_note();
    xs_keeper_filtered();
}

/* One of the numbers below. Not 0: the call makes a process as fork does, and is made by
 * xs_clone_by_syscall. */
int xs_jumps_syscall(long number, long a, long b)
{
    if (number != SYS_seccomp)
        return xs_clone_is_fork(number, a, b);
    xs_jumps_seccomp();
    return 0;
}

void xs_dlopen_strip_deepbind(void)
{
    xs_dlopen_mask = ~(uint32_t)RTLD_DEEPBIND;
}

#define TEXT(x)  #x
#define VALUE(x) TEXT(x)

/* A call that leaves the arguments as they are. */
#define CALL(function) CALL_AND(function, "")

#if defined(__x86_64__)
#define CALL_AND(function, then)                                                                   \
    "push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n push %rax\n"            \
    ".cfi_adjust_cfa_offset 56\n"                                                                  \
    "call " function "\n" then                                                                     \
    "pop %rax\n pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n pop %rsi\n pop %rdi\n"                   \
    ".cfi_adjust_cfa_offset -56\n"
#define BEGIN(name)                                                                                \
    ".pushsection .text\n.globl " name "\n.type " name ", @function\n" name ":\n.cfi_startproc\n"
#define JUMP(name)                                                                                 \
    "2: mov xs_next_" name "(%rip), %r11\n test %r11, %r11\n je 3f\n jmp *%r11\n"                  \
    "3:\n" CALL("xs_jumps_find") "jmp *xs_next_" name "(%rip)\n"                                   \
                                 ".cfi_endproc\n.size " name ", .-" name "\n.popsection\n"
#define ON_FIRST_ARGUMENT(value, function) "cmp $" value ", %edi\n jne 2f\n" CALL(function)
#define FIRST_ARGUMENT_IS(value)           "cmp $" value ", %edi\n je 1f\n"
#define OTHERWISE                          "jmp 2f\n1:\n"
/* Popping leaves the flags as they are. */
#define ASK(function, instead)     CALL_AND(function, "test %eax, %eax\n") "jne " instead "\n"
#define MASK_SECOND_ARGUMENT(mask) "and " mask "(%rip), %esi\n"

#elif defined(__aarch64__)
#define CALL_AND(function, then)                                                                   \
    "stp x29, x30, [sp, #-80]!\n.cfi_adjust_cfa_offset 80\n.cfi_rel_offset x30, 8\n"               \
    "stp x0, x1, [sp, #16]\n stp x2, x3, [sp, #32]\n stp x4, x5, [sp, #48]\n"                      \
    "stp x6, x7, [sp, #64]\n"                                                                      \
    "bl " function "\n" then                                                                       \
    "ldp x0, x1, [sp, #16]\n ldp x2, x3, [sp, #32]\n ldp x4, x5, [sp, #48]\n"                      \
    "ldp x6, x7, [sp, #64]\n"                                                                      \
    "ldp x29, x30, [sp], #80\n.cfi_restore x30\n.cfi_adjust_cfa_offset -80\n"
#define BEGIN(name)                                                                                \
    ".pushsection .text\n.globl " name "\n.type " name ", %function\n" name ":\n.cfi_startproc\n"
#define LOAD(register, symbol) "adrp x16, " symbol "\n ldr " register ", [x16, :lo12:" symbol "]\n"
#define JUMP(name)                                                                                 \
    "2:\n" LOAD("x16", "xs_next_" name) "cbz x16, 3f\n br x16\n"                                   \
                                        "3:\n" CALL("xs_jumps_find") LOAD(                         \
                                            "x16", "xs_next_" name) "br x16\n"                     \
                                                                    ".cfi_endproc\n.size " name    \
                                                                    ", .-" name "\n.popsection\n"
#define ON_FIRST_ARGUMENT(value, function)                                                         \
    "mov w16, #" value "\n cmp w0, w16\n b.ne 2f\n" CALL(function)
#define FIRST_ARGUMENT_IS(value)   "mov w16, #" value "\n cmp w0, w16\n b.eq 1f\n"
#define OTHERWISE                  "b 2f\n1:\n"
#define ASK(function, instead)     CALL_AND(function, "cmp w0, #0\n") "b.eq 2f\n b " instead "\n"
#define MASK_SECOND_ARGUMENT(mask) LOAD("w17", mask) "and w1, w1, w17\n"

#else
#error "write the jumps for this processor"
#endif

/* PR_SET_SECCOMP, spelled out for the assembler. */
#define SET_SECCOMP 22

__asm__(BEGIN("dlopen") MASK_SECOND_ARGUMENT("xs_dlopen_mask") JUMP("dlopen"));
__asm__(BEGIN("prctl") ON_FIRST_ARGUMENT(VALUE(SET_SECCOMP), "xs_jumps_seccomp") JUMP("prctl"));
#if defined(__NR_fork)
#define IS_FORK FIRST_ARGUMENT_IS(VALUE(__NR_fork))
#else
#define IS_FORK
#endif
__asm__(BEGIN("syscall") FIRST_ARGUMENT_IS(VALUE(__NR_seccomp)) FIRST_ARGUMENT_IS(VALUE(__NR_clone))
            FIRST_ARGUMENT_IS(VALUE(__NR_clone3))
                IS_FORK OTHERWISE ASK("xs_jumps_syscall", "xs_clone_by_syscall") JUMP("syscall"));
__asm__(BEGIN("clone") ASK("xs_clone_is_copy", "xs_clone_copy") JUMP("clone"));
