#include "sample/walk.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sample/cfi.h"
#include "sample/modules.h"
#include "sys/mem.h"

/* Who misses a place reads its rule from the function's beginning on, which in large ones takes 5
 * us: so there is room for all that large programs call malloc from, and for four that meet. */
#define PLACES     ((size_t)4096)
#define TOGETHER   4u
#define OWN_FRAMES 16 /* at most so many of ours come first */
/* The kernel keeps more than this free of mappings below where the first stack began. */
#define FIRST_STACK ((uintptr_t)64 << 20)
/* Larger frames are left to who looks closer. */
#define FRAME_BYTES ((uintptr_t)16 << 20)

/* glibc's: where the first thread's stack began. */
extern void *__libc_stack_end;

/* What is known of a place in the code. */
struct place {
    uint64_t frame; /* as struct xs_site has it */
    struct xs_cfi rule;
    bool is_ours;
};

_Static_assert(sizeof(struct xs_cfi) == 2 * sizeof(uint64_t), "kept in words");

/* The same, where others may read while it is written: then the version is odd, or another after.
 */
struct known {
    _Atomic uint32_t version;
    _Atomic uint32_t age; /* twice that, and 1 if it is ours */
    _Atomic uintptr_t address;
    _Atomic uint64_t frame;
    _Atomic uint64_t rule[2];
};

XS_UNLIKELY_DATA static struct known all_known[PLACES];
static _Atomic uint32_t current_age = 1; /* what is older is forgotten */

void xs_walk_forget(void)
{
    atomic_fetch_add_explicit(&current_age, 1, memory_order_relaxed);
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

static __attribute__((noinline)) bool reach(struct stack *s, uintptr_t at)
{
    uintptr_t page = xs_mem_page();

    if (at < s->high || !xs_walk_can_read(at))
        return false;
    s->low = at;
    s->high = (at & ~(page - 1)) + page;
    return true;
}

XS_INLINE bool load(struct stack *s, uintptr_t at, uintptr_t *out)
{
    if (at % sizeof(*out) != 0)
        return false;
    if (XS_UNLIKELY(at < s->low || at >= s->high) && !reach(s, at))
        return false;
    *out = *(const uintptr_t *)at; // NOLINT(performance-no-int-to-ptr)
    return true;
}

/* ---- the walk --------------------------------------------------------------------------- */

/* Where addresses of one stack met in one place, each would be found out anew each time: so there
 * are several for each. */
static struct known *first_for(uintptr_t address)
{
    return &all_known[(address * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (PLACES / TOGETHER) *
                      TOGETHER];
}

/* The last one if it is in none. */
static struct known *known_at(uintptr_t address)
{
    struct known *k = first_for(address);

    for (unsigned i = 1; i < TOGETHER; i++, k++)
        if (atomic_load_explicit(&k->address, memory_order_relaxed) == address)
            break;
    return k;
}

static bool recall(uintptr_t address, struct place *out)
{
    struct known *k = known_at(address);
    uint64_t rule[2];

    uint32_t version = atomic_load_explicit(&k->version, memory_order_acquire);
    if (atomic_load_explicit(&k->address, memory_order_relaxed) != address)
        return false;
    uint32_t age = atomic_load_explicit(&k->age, memory_order_relaxed);
    out->frame = atomic_load_explicit(&k->frame, memory_order_relaxed);
    rule[0] = atomic_load_explicit(&k->rule[0], memory_order_relaxed);
    rule[1] = atomic_load_explicit(&k->rule[1], memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (version % 2 != 0 || atomic_load_explicit(&k->version, memory_order_relaxed) != version)
        return false;
    memcpy(&out->rule, rule, sizeof(rule));
    out->is_ours = age % 2 != 0;
    return age / 2 == atomic_load_explicit(&current_age, memory_order_relaxed);
}

static void remember(uintptr_t address, const struct place *p)
{
    struct known *first = first_for(address);
    struct known *k = known_at(address);
    uint32_t age = atomic_load_explicit(&current_age, memory_order_relaxed);
    uint64_t rule[2];

    if (atomic_load_explicit(&k->address, memory_order_relaxed) != address)
        for (k = first; k < first + TOGETHER - 1; k++)
            if (atomic_load_explicit(&k->age, memory_order_relaxed) / 2 != age)
                break;
    /* Odd already in the child of a fork that came in between. */
    uint32_t version = atomic_load_explicit(&k->version, memory_order_relaxed) | 1;

    memcpy(rule, &p->rule, sizeof(rule));
    atomic_store_explicit(&k->version, version, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&k->address, address, memory_order_relaxed);
    atomic_store_explicit(&k->age, age * 2 + p->is_ours, memory_order_relaxed);
    atomic_store_explicit(&k->frame, p->frame, memory_order_relaxed);
    atomic_store_explicit(&k->rule[0], rule[0], memory_order_relaxed);
    atomic_store_explicit(&k->rule[1], rule[1], memory_order_relaxed);
    atomic_store_explicit(&k->version, version + 1, memory_order_release);
}

/* What code does that was made while the program runs. It may be gone though it is on the stack:
 * who knows more, libunwind and the compiler's unwinder, read it whatever it is, and are not asked.
 */
static const struct xs_cfi in_no_object = {
    .kind = XS_CFI_GUESS,
    .cfa = XS_CFI_FP_PLUS,
    .fp = XS_CFI_FP_AT_CFA,
    .cfa_offset = 2 * sizeof(uintptr_t),
    .fp_offset = -2 * (int32_t)sizeof(uintptr_t),
    .ra_offset = -(int32_t)sizeof(uintptr_t),
};

static void find_out(uintptr_t address, struct place *out)
{
    struct xs_cfi_table table;

    *out = (struct place){.rule = in_no_object};
    if (xs_modules_know(address) || xs_modules_learn(address)) {
        out->rule = (struct xs_cfi){0};
        out->frame = xs_modules_frame(address);
        out->is_ours = xs_modules_is_ours(address);
        if (xs_modules_table(address, &table))
            out->rule = xs_cfi_find(&table, address);
    }
    remember(address, out);
}

/* To the caller's registers: false if they cannot be had. */
static bool step(const struct xs_cfi *rule, struct stack *s, struct xs_registers *r)
{
    struct xs_registers up = {.fp = r->fp};
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

/* As struct xs_site has them, or the addresses that are returned to. */
enum form { SITES, ADDRESSES };

static uint32_t walk(struct xs_registers r, uint64_t out[], uint32_t most, enum form form,
                     bool may_find_out)
{
    struct stack s = stack_at(r.sp);
    struct place p;
    uint32_t ours = 0;
    uint32_t n = 0;

    while (n < most) {
        if (!recall(r.ip, &p)) {
            if (!may_find_out)
                return XS_WALK_UNKNOWN;
            find_out(r.ip, &p);
        }
        if (p.rule.kind == XS_CFI_NONE)
            return 0;
        if (n > 0 || !p.is_ours)
            out[n++] = form == SITES ? p.frame : r.ip + 1;
        else if (++ours > OWN_FRAMES)
            return 0;
        if (p.rule.kind == XS_CFI_FIRST)
            break;
        if (!step(&p.rule, &s, &r))
            return p.rule.kind == XS_CFI_GUESS ? n : 0;
        if (r.ip == 0)
            break;
        r.ip--;
    }
    return n;
}

uint32_t xs_walk(uint64_t frame[XS_SITE_FRAMES])
{
    return walk(xs_registers_here(), frame, XS_SITE_FRAMES, SITES, true);
}

uint32_t xs_walk_addresses(const struct xs_registers *from, uintptr_t pc[], uint32_t most)
{
    return walk(*from, pc, most, ADDRESSES, true);
}

uint32_t xs_walk_known(const struct xs_registers *from, uintptr_t pc[], uint32_t most)
{
    return xs_modules_is_fresh() ? walk(*from, pc, most, ADDRESSES, false) : XS_WALK_UNKNOWN;
}
