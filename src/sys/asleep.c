#include "sys/asleep.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fmt.h"
#include "sys/io.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

/* Of the linker: where our code lies. */
extern XS_HIDDEN const char __ehdr_start[];
extern XS_HIDDEN const char etext[];

/* A deeper stack is not looked through. */
#define STACK_MOST ((uintptr_t)256 << 10)
#define OWN_MOST   ((uintptr_t)256 << 20)

uintptr_t xs_asleep_stack_top(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    /* What a thread knows of itself lies above its stack, what a process was given above its first
     * one. */
    uintptr_t own = (uintptr_t)__builtin_thread_pointer();
    uintptr_t given = getauxval(AT_RANDOM);

    if (here < own && own - here < OWN_MOST)
        return own;
    return here < given && given - here < OWN_MOST ? given : 0;
}

/* ---- what the kernel says --------------------------------------------------------------- */

static bool read_of(pid_t tid, const char *file, char *text, size_t cap)
{
    XS_BUF(path, 64);

    xs_fmt(&path, "/proc/self/task/%d/%s", (int)tid, file);
    return xs_io_read_file(path.at, text, cap) > 0;
}

/* How often it was made to run: the lines of its switches, as text. */
static bool read_switches(pid_t tid, char *out, size_t cap)
{
    char text[3072];
    struct xs_buf b;

    if (!read_of(tid, "status", text, sizeof(text)))
        return false;
    const char *at = strstr(text, "\nvoluntary_ctxt_switches:");
    if (at == NULL)
        return false;
    xs_buf_init(&b, out, cap);
    xs_put_str(&b, at);
    return !b.truncated;
}

static bool waits_for_others(long call)
{
    static const short calls[] = {
        SYS_futex,      SYS_ppoll,           SYS_pselect6,        SYS_epoll_pwait,
        SYS_read,       SYS_readv,           SYS_recvfrom,        SYS_recvmsg,
        SYS_accept,     SYS_accept4,         SYS_wait4,           SYS_waitid,
        SYS_nanosleep,  SYS_clock_nanosleep, SYS_rt_sigtimedwait, SYS_restart_syscall,
        SYS_semtimedop, SYS_msgrcv,          SYS_io_getevents,
#ifdef __x86_64__
        SYS_poll,       SYS_select,          SYS_epoll_wait,
#endif
    };

    for (size_t i = 0; i < XS_COUNT_OF(calls); i++)
        if (call == calls[i])
            return true;
    return false;
}

/* "NUMBER six arguments SP PC", or "running", or -1 outside a call. False: it is in none. */
static bool stack_of(const char *text, uintptr_t *sp)
{
    long call = 0;
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++)
        call = call * 10 + (*text - '0');
    if (!waits_for_others(call))
        return false;
    for (unsigned field = 0; field < 7; field++) {
        value = 0;
        if (strncmp(text, " 0x", 3) != 0)
            return false;
        for (text += 3; *text != ' ' && *text != '\n' && *text != '\0'; text++)
            value = value << 4 | (uint64_t)(*text <= '9' ? *text - '0' : (*text | 0x20) - 'a' + 10);
    }
    *sp = (uintptr_t)value;
    return true;
}

/* ---- signal handlers -------------------------------------------------------------------- */

/* With each handler's frame the kernel puts the floating-point state on the stack, which it marks.
 */
static uint32_t frame_mark(void)
{
#if defined(__x86_64__)
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;
    /* It does where there is xsave and in use. */
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_OSXSAVE) != 0 ? 0x46505853u : 0;
#elif defined(__aarch64__)
    return 0x46508001u;
#else
    return 0;
#endif
}

/* A frame of the kernel's, or a return into code of ours: that may wait half way through what it
 * does, for a lock of its own. What is left over on the stack only means that nothing is taken. */
static bool is_busy(uint64_t word, uint32_t mark)
{
    return (uint32_t)word == mark || (uint32_t)(word >> 32) == mark ||
           word - (uintptr_t)__ehdr_start < (uintptr_t)etext - (uintptr_t)__ehdr_start;
}

/* Read by a system call: it may be gone by now. */
static bool is_busy_stack(uint32_t mark, uintptr_t sp, uintptr_t top)
{
    uint64_t words[512] = {0};

    for (uintptr_t at = sp & ~(uintptr_t)15; at < top; at += sizeof(words)) {
        size_t n = top - at < sizeof(words) ? top - at : sizeof(words);
        struct iovec to = {words, n};
        struct iovec from = {(void *)at, n}; // NOLINT(performance-no-int-to-ptr)
        if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)n)
            return true;
        for (size_t i = 0; i < n / sizeof(words[0]); i++)
            if (is_busy(words[i], mark))
                return true;
    }
    return false;
}

bool xs_asleep(pid_t tid, uintptr_t stack_top)
{
    uint32_t mark = frame_mark();
    char switches[2][128];
    char call[2][256];
    uintptr_t sp;

    if (mark == 0 || stack_top == 0 || !read_switches(tid, switches[0], sizeof(switches[0])) ||
        !read_of(tid, "syscall", call[0], sizeof(call[0])) || !stack_of(call[0], &sp) ||
        sp >= stack_top || stack_top - sp > STACK_MOST || is_busy_stack(mark, sp, stack_top))
        return false;
    /* It did not run meanwhile. */
    return read_of(tid, "syscall", call[1], sizeof(call[1])) && strcmp(call[0], call[1]) == 0 &&
           read_switches(tid, switches[1], sizeof(switches[1])) &&
           strcmp(switches[0], switches[1]) == 0;
}
