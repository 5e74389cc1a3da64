#include "sample/walk.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sample/cfi.h"
#include "sample/modules.h"
#include "sys/mem.h"

#define PLACES     ((size_t)1024) /* a power of two */
#define OWN_FRAMES 16             /* at most so many of ours come first */
/* The kernel keeps more than this free of mappings below where the first stack began. */
#define FIRST_STACK ((uintptr_t)64 << 20)
/* Larger frames are left to who looks closer. */
#define FRAME_BYTES ((uintptr_t)16 << 20)

/* glibc's: where the first thread's stack began. */
extern void *__libc_stack_end;

/* A place in the code. */
struct known {
    uintptr_t address;
    uint64_t frame; /* as struct xs_site has it */
    struct xs_cfi rule;
    uint32_t age;
    bool is_ours;
};

struct registers {
    uintptr_t ip;
    uintptr_t sp;
    uintptr_t fp;
};

XS_UNLIKELY_DATA static struct known all_known[PLACES];
static uint32_t age = 1; /* what is older is forgotten */

void xs_walk_forget(void)
{
    age++;
}

/* ---- the stack -------------------------------------------------------------------------- */

/* The kernel reads the set before it looks at what is to be done with it, which is nothing. */
bool xs_walk_can_read(uintptr_t at)
{
    uintptr_t word = at & ~(sizeof(uint64_t) - 1);

    return syscall(SYS_rt_sigprocmask, -1, word, NULL, sizeof(uint64_t)) == 0 || errno != EFAULT;
}

/* What is known to be readable: from the frame that runs on. */
struct stack {
    uintptr_t low;
    uintptr_t high;
};

static struct stack stack_at(uintptr_t sp)
{
    uintptr_t first = (uintptr_t)__libc_stack_end;

    if (sp < first && first - sp < FIRST_STACK)
        return (struct stack){sp, first};
    uintptr_t page = xs_mem_page();
    return (struct stack){sp, (sp & ~(page - 1)) + page};
}

static bool load(struct stack *s, uintptr_t at, uintptr_t *out)
{
    if (at % sizeof(*out) != 0 || at < s->low)
        return false;
    if (at >= s->high) {
        uintptr_t page = xs_mem_page();
        if (!xs_walk_can_read(at))
            return false;
        s->low = at;
        s->high = (at & ~(page - 1)) + page;
    }
    *out = *(const uintptr_t *)at; // NOLINT(performance-no-int-to-ptr)
    return true;
}

/* ---- the walk --------------------------------------------------------------------------- */

static const struct known *look_up(uintptr_t address)
{
    struct known *k = &all_known[(address * UINT64_C(0x9e3779b97f4a7c15) >> 32) % PLACES];
    struct xs_cfi_table table;

    if (k->address == address && k->age == age)
        return k;
    if (!xs_modules_know(address) && !xs_modules_learn(address))
        return NULL;
    *k = (struct known){.address = address,
                        .frame = xs_modules_frame(address),
                        .is_ours = xs_modules_is_ours(address),
                        .age = age};
    if (xs_modules_table(address, &table))
        k->rule = xs_cfi_find(&table, address);
    return k;
}

/* To the caller's registers: false if they cannot be had. */
static bool step(const struct xs_cfi *rule, struct stack *s, struct registers *r)
{
    struct registers up = {.fp = r->fp};
    uintptr_t cfa =
        (rule->cfa == XS_CFI_SP_PLUS ? r->sp : r->fp) + (uintptr_t)(intptr_t)rule->cfa_offset;

    if (rule->cfa == XS_CFI_AT_FP && !load(s, cfa, &cfa))
        return false;
    if (cfa <= r->sp || cfa - r->sp > FRAME_BYTES)
        return false;
    if (rule->fp != XS_CFI_FP_SAME &&
        !load(s,
              (rule->fp == XS_CFI_FP_AT_CFA ? cfa : r->fp) + (uintptr_t)(intptr_t)rule->fp_offset,
              &up.fp))
        return false;
    if (!load(s, cfa + (uintptr_t)(intptr_t)rule->ra_offset, &up.ip))
        return false;
    up.sp = cfa;
    *r = up;
    return true;
}

static inline __attribute__((always_inline)) struct registers registers_here(void)
{
    struct registers r;

#if defined(__x86_64__)
    __asm__ volatile("lea 0(%%rip), %0\n mov %%rsp, %1\n mov %%rbp, %2"
                     : "=&r"(r.ip), "=&r"(r.sp), "=&r"(r.fp));
#elif defined(__aarch64__)
    __asm__ volatile("adr %0, .\n mov %1, sp\n mov %2, x29"
                     : "=&r"(r.ip), "=&r"(r.sp), "=&r"(r.fp));
#else
#error "write it for this processor"
#endif
    return r;
}

uint32_t xs_walk(uint64_t frame[XS_SITE_FRAMES])
{
    struct registers r = registers_here();
    struct stack s = stack_at(r.sp);
    uint32_t ours = 0;
    uint32_t n = 0;

    while (n < XS_SITE_FRAMES) {
        const struct known *k = look_up(r.ip);
        if (k == NULL || k->rule.kind == XS_CFI_NONE)
            return 0;
        if (n > 0 || !k->is_ours)
            frame[n++] = k->frame;
        else if (++ours > OWN_FRAMES)
            return 0;
        if (k->rule.kind == XS_CFI_FIRST)
            break;
        if (!step(&k->rule, &s, &r))
            return 0;
        if (r.ip == 0)
            break;
        r.ip--;
    }
    return n;
}
