#include "sample/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sample/modules.h"
#include "sample/walk.h"
#include "sys/elf.h"
#include "sys/mem.h"

#if defined(__x86_64__)
#define ITS(name)       "_Ux86_64_" name
#define ITS_LOCAL(name) "_ULx86_64_" name
#define REG_IP          16
#else
#define ITS(name)       "_Uaarch64_" name
#define ITS_LOCAL(name) "_ULaarch64_" name
#define REG_IP          30
#endif

#define OWN_FRAMES   16 /* at most so many of ours come first */
#define FRAMES_ASKED (XS_SITE_FRAMES + OWN_FRAMES)
#define ROUNDS       8
/* Of libunwind's context and cursor, with room to spare. */
#define CONTEXT_BYTES 16384
#define STACK_BYTES   ((size_t)128 << 10)
/* Of the first thread's stack, where it has no limit. */
#define STACK_ASSUMED ((uintptr_t)64 << 20)

static XS_TLS bool is_here; /* in libunwind, for a sample */

static struct {
    _Atomic int kind; /* enum xs_unwinder */
    int (*get_context)(void *context);
    int (*init_local)(void *cursor, void *context);
    int (*step)(void *cursor);
    int (*get_reg)(void *cursor, int reg, uintptr_t *value);
    void (*flush_cache)(void *space, uintptr_t low, uintptr_t high);
    void **space;
    char *stack; /* mapped with the first need: a library of more than 2 MiB is laid out worse */
} own;

/* ---- a call on another stack ------------------------------------------------------------ */

/* The frame is found by its frame pointer, so unwinding goes on on the stack that was left. */
XS_HIDDEN void xs_call_on_stack(void (*function)(void *), void *argument, void *stack_end);

#if defined(__x86_64__)
__asm__(".pushsection .text\n.hidden xs_call_on_stack\n.globl xs_call_on_stack\n"
        ".type xs_call_on_stack, @function\nxs_call_on_stack:\n.cfi_startproc\n"
        "push %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
        "mov %rsp, %rbp\n.cfi_def_cfa_register %rbp\n"
        "mov %rdx, %rsp\n mov %rdi, %rax\n mov %rsi, %rdi\n call *%rax\n"
        "leave\n.cfi_def_cfa %rsp, 8\n ret\n"
        ".cfi_endproc\n.size xs_call_on_stack, .-xs_call_on_stack\n.popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n.hidden xs_call_on_stack\n.globl xs_call_on_stack\n"
        ".type xs_call_on_stack, %function\nxs_call_on_stack:\n.cfi_startproc\n"
        "stp x29, x30, [sp, #-16]!\n.cfi_def_cfa_offset 16\n.cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n mov x29, sp\n.cfi_def_cfa_register x29\n"
        "mov sp, x2\n mov x3, x0\n mov x0, x1\n blr x3\n"
        "mov sp, x29\n ldp x29, x30, [sp], #16\n.cfi_def_cfa sp, 0\n.cfi_restore x29\n"
        ".cfi_restore x30\n ret\n"
        ".cfi_endproc\n.size xs_call_on_stack, .-xs_call_on_stack\n.popsection\n");
#else
#error "write the call for this processor"
#endif

/* ---- libunwind -------------------------------------------------------------------------- */

struct asked {
    uintptr_t address[FRAMES_ASKED];
    int count;
};

/* Not by unw_backtrace: of what that remembers, flush_cache makes it forget nothing. */
static void ask_there(void *arg)
{
    XS_UNLIKELY_DATA static _Alignas(16) char context[CONTEXT_BYTES];
    XS_UNLIKELY_DATA static _Alignas(16) char cursor[CONTEXT_BYTES];
    struct asked *a = arg;
    uintptr_t at;

    own.get_context(context);
    if (own.init_local(cursor, context) != 0)
        return;
    while (a->count < FRAMES_ASKED && own.step(cursor) > 0 &&
           own.get_reg(cursor, REG_IP, &at) == 0 && at != 0)
        a->address[a->count++] = at;
}

static void flush(void)
{
    own.flush_cache(*own.space, 0, 0);
}

/* An object that the list did not have ends the walk too early: then again, from the start. */
static void ask(struct asked *a)
{
    a->count = 0;
    if (own.stack == NULL)
        own.stack = xs_mem_map(STACK_BYTES, 0);
    if (own.stack == NULL)
        return;
    for (int round = 0; round < ROUNDS; round++) {
        bool has_learnt = false;
        a->count = 0;
        xs_call_on_stack(ask_there, a, own.stack + STACK_BYTES);
        for (int i = 0; i < a->count; i++) {
            uintptr_t at = a->address[i] - 1;
            if (!xs_modules_know(at))
                has_learnt |= xs_modules_learn(at);
        }
        if (!has_learnt)
            return;
        flush();
    }
}

static uint32_t by_libunwind(uint64_t *frame)
{
    XS_UNLIKELY_DATA static struct asked a; /* one at a time, and large for a stack */
    uint32_t n = 0;
    int i = 0;

    is_here = true;
    ask(&a);
    is_here = false;
    while (i < a.count && xs_modules_is_ours(a.address[i] - 1))
        i++;
    for (; i < a.count && n < XS_SITE_FRAMES; i++)
        frame[n++] = xs_modules_frame(a.address[i] - 1);
    return n;
}

static bool has_libunwind(void)
{
    return atomic_load_explicit(&own.kind, memory_order_relaxed) == XS_UNWIND_LIBUNWIND;
}

static void refresh(void)
{
    if (!xs_modules_refresh())
        return;
    if (has_libunwind())
        flush();
    xs_walk_forget();
}

/* Most walks need no libunwind: it takes a thousand instructions a frame. */
static uint32_t by_tables(uint64_t *frame)
{
    refresh();
    uint32_t n = xs_walk(frame);
    return n != 0 ? n : by_libunwind(frame);
}

/* ---- frame pointers --------------------------------------------------------------------- */

/* glibc's: where the first thread's stack began. */
extern void *__libc_stack_end;

static XS_TLS uintptr_t stack_low;
static XS_TLS uintptr_t stack_high;

static void find_first_stack(void)
{
    struct rlimit limit;
    uintptr_t most = STACK_ASSUMED;

    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur < most)
        most = limit.rlim_cur;
    stack_high = (uintptr_t)__libc_stack_end;
    stack_low = stack_high - most;
}

/* Of another thread: it may allocate, for which nothing is sampled now. */
static void find_stack(void)
{
    pthread_attr_t attr;
    void *low;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &low, &size) == 0) {
        stack_low = (uintptr_t)low;
        stack_high = stack_low + size;
    }
    pthread_attr_destroy(&attr);
}

static bool on_stack(uintptr_t at)
{
    return at >= stack_low && at < stack_high && at % sizeof(void *) == 0;
}

static uint32_t by_frame_pointers(uint64_t *frame)
{
    uintptr_t fp = (uintptr_t)__builtin_frame_address(0);
    uint32_t n = 0;

    refresh();
    if (!on_stack(fp))
        find_first_stack();
    if (!on_stack(fp))
        find_stack();
    while (n < XS_SITE_FRAMES && on_stack(fp) && on_stack(fp + sizeof(void *))) {
        const uintptr_t *link = (const uintptr_t *)fp; // NOLINT(performance-no-int-to-ptr)
        uintptr_t at = link[1] - 1;
        if (link[1] == 0)
            break;
        if (!xs_modules_know(at) && !xs_modules_learn(at))
            break;
        if (n > 0 || !xs_modules_is_ours(at))
            frame[n++] = xs_modules_frame(at);
        if (link[0] <= fp)
            break;
        fp = link[0];
    }
    return n;
}

/* ---- what libunwind may do ---------------------------------------------------------------- */

static int its_dl_iterate_phdr(int (*use)(struct dl_phdr_info *info, size_t size, void *arg),
                               void *arg)
{
    return is_here ? xs_modules_each(use, arg) : dl_iterate_phdr(use, arg);
}

/* Its signals are blocked already. */
static int its_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    return is_here ? 0 : sigprocmask(how, set, old);
}

static bool is_readable(const void *at)
{
    return xs_walk_can_read((uintptr_t)at);
}

static int fail(int error)
{
    errno = error;
    return -1;
}

/* It asks whether it may read a page by these two, then by writing a byte of it to a pipe. */
static int its_mincore(void *at, size_t bytes, unsigned char *pages)
{
    if (!is_here)
        return mincore(at, bytes, pages);
    pages[0] = 1;
    return is_readable(at) ? 0 : fail(ENOMEM);
}

static int its_msync(void *at, size_t bytes, int flags)
{
    if (!is_here)
        return msync(at, bytes, flags);
    return is_readable(at) ? 0 : fail(ENOMEM);
}

static int its_pipe2(int fds[2], int flags)
{
    if (!is_here)
        return pipe2(fds, flags);
    fds[0] = fds[1] = -1;
    return 0;
}

/* 1.3 closes what it takes for an old pipe before it opens one. */
static int its_close(int fd)
{
    return close(fd);
}

static ssize_t its_write(int fd, const void *from, size_t bytes)
{
    if (!is_here)
        return write(fd, from, bytes);
    return is_readable(from) ? (ssize_t)bytes : fail(EFAULT);
}

static long its_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (is_here && number == SYS_write)
        return its_write((int)a, (const void *)b, (size_t)c); // NOLINT
    return syscall(number, a, b, c, d, e, f);
}

static ssize_t its_read(int fd, void *to, size_t bytes)
{
    return is_here ? fail(EAGAIN) : read(fd, to, bytes);
}

/* Of files with the tables of what lacks them: not now. */
static int its_open(const char *path, int flags, mode_t mode)
{
    return is_here ? fail(ENOENT) : open(path, flags, mode);
}

static bool tame(const void *link_map)
{
    if (!xs_elf_redirect(link_map, "dl_iterate_phdr", (const void *)(uintptr_t)its_dl_iterate_phdr))
        return false;
    (void)xs_elf_redirect(link_map, "sigprocmask", (const void *)(uintptr_t)its_sigprocmask);
    (void)xs_elf_redirect(link_map, "mincore", (const void *)(uintptr_t)its_mincore);
    (void)xs_elf_redirect(link_map, "msync", (const void *)(uintptr_t)its_msync);
    (void)xs_elf_redirect(link_map, "pipe2", (const void *)(uintptr_t)its_pipe2);
    (void)xs_elf_redirect(link_map, "close", (const void *)(uintptr_t)its_close);
    (void)xs_elf_redirect(link_map, "write", (const void *)(uintptr_t)its_write);
    (void)xs_elf_redirect(link_map, "syscall", (const void *)(uintptr_t)its_syscall);
    (void)xs_elf_redirect(link_map, "read", (const void *)(uintptr_t)its_read);
    (void)xs_elf_redirect(link_map, "open", (const void *)(uintptr_t)its_open);
    return true;
}

/* ---- which ------------------------------------------------------------------------------ */

static bool open_libunwind(struct xs_buf *why)
{
    struct link_map *map = NULL;
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL || dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) {
        xs_put_str(why, "libunwind.so.8 is not installed");
        return false;
    }
    own.get_context = (int (*)(void *))(uintptr_t)xs_elf_in(map, ITS("getcontext"));
    own.init_local = (int (*)(void *, void *))(uintptr_t)xs_elf_in(map, ITS_LOCAL("init_local"));
    own.step = (int (*)(void *))(uintptr_t)xs_elf_in(map, ITS_LOCAL("step"));
    own.get_reg =
        (int (*)(void *, int, uintptr_t *))(uintptr_t)xs_elf_in(map, ITS_LOCAL("get_reg"));
    own.flush_cache =
        (void (*)(void *, uintptr_t, uintptr_t))(uintptr_t)xs_elf_in(map, ITS("flush_cache"));
    own.space = xs_elf_in(map, ITS_LOCAL("local_addr_space"));
    if (own.get_context == NULL || own.init_local == NULL || own.step == NULL ||
        own.get_reg == NULL || own.flush_cache == NULL || own.space == NULL || !tame(map)) {
        xs_put_str(why, "libunwind.so.8 is not as expected");
        return false;
    }
    return true;
}

/* The first walk of a process takes hundreds of microseconds. */
static bool warm_up(void)
{
    uint64_t frame[XS_SITE_FRAMES];

    return by_libunwind(frame) != 0;
}

enum xs_unwinder xs_unwind_open(enum xs_unwinder wanted, struct xs_buf *why)
{
    if (wanted == XS_UNWIND_LIBUNWIND && !open_libunwind(why))
        wanted = XS_UNWIND_FP;
    /* The list must have libunwind, where every walk begins. */
    bool can_ask = xs_modules_open();
    xs_modules_record();
    xs_walk_forget(); /* what has no number in the record */
    if (wanted == XS_UNWIND_LIBUNWIND && !can_ask) {
        xs_put_str(why, "libunwind needs glibc 2.35 or later here");
        wanted = XS_UNWIND_FP;
    }
    if (wanted == XS_UNWIND_LIBUNWIND && !warm_up()) {
        xs_put_str(why, "libunwind finds nothing here");
        wanted = XS_UNWIND_FP;
    }
    atomic_store_explicit(&own.kind, wanted, memory_order_relaxed);
    return wanted;
}

uint32_t xs_unwind_addresses(const struct xs_registers *from, uintptr_t pc[], uint32_t most)
{
    refresh();
    return xs_walk_addresses(from, pc, most);
}

uint32_t xs_unwind(uint64_t frame[XS_SITE_FRAMES])
{
    switch (atomic_load_explicit(&own.kind, memory_order_relaxed)) {
    case XS_UNWIND_LIBUNWIND:
        return by_tables(frame);
    case XS_UNWIND_FP:
        return by_frame_pointers(frame);
    default:
        return 0;
    }
}
