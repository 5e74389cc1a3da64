#include "backend/guard.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "backend/counted.h"
#include "backend/hardened_block.h"
#include "backend/stacks.h"
#include "base/align.h"
#include "sample/sample.h"
#include "sys/backtrace.h"
#include "sys/lock.h"
#include "sys/mem.h"

/* All there are, live and freed; each takes two of the 65,530 mappings that the kernel allows. */
#define RECORDS 16384u
/* Of them freed ones whose pages are still kept away, and the address space that they may take. */
#define DEAD_MOST       2048u
#define DEAD_MOST_BYTES ((size_t)4 << 30)

/* Around the block, as far as its pages go. */
#define FILL 0xCA

enum state { NONE, LIVE, DEAD };

struct guard {
    char *base;
    size_t bytes; /* without what nobody may touch: a page, and what a growing block has room for */
    size_t room;
    char *p;
    size_t size;
    uint32_t allocated; /* stacks */
    uint32_t freed;
    uint32_t next; /* number + 1, of the free ones or of the dead */
    uint8_t kind;
    uint8_t state;
    bool is_first; /* that page comes before the others */
};

XS_UNLIKELY_DATA static struct {
    struct xs_lock lock;
    struct guard *record;
    uint32_t used; /* records ever used */
    uint32_t free; /* number + 1 */
    uint32_t first_dead;
    uint32_t last_dead;
    uint32_t dead;
    size_t dead_bytes;
    struct sigaction before;
    bool fork_took_lock;
} guards;

XS_TLS int32_t xs_guard_countdown;
static XS_TLS uint64_t countdown_random;

bool xs_guard_is_due(void)
{
    bool begun = countdown_random != 0;

    if (!begun)
        countdown_random = xs_hot.hardened.key ^ (uintptr_t)&countdown_random;
    countdown_random ^= countdown_random << 13;
    countdown_random ^= countdown_random >> 7;
    countdown_random ^= countdown_random << 17;
    /* One in n on average, and nobody can tell which. */
    uint64_t n = xs_hot.hardened.guard_every;
    xs_guard_countdown = (int32_t)(countdown_random % (2 * n - 1));
    return begun || xs_guard_countdown == 0;
}

enum xs_guard_side xs_guard_side(void)
{
    static XS_TLS bool is_before = true;

    is_before = !is_before;
    return is_before ? XS_GUARD_BEFORE : XS_GUARD_BEHIND;
}

/* ---- the fault -------------------------------------------------------------------------- */

static struct guard *guard_at(uint64_t entry)
{
    return &guards.record[XS_ENTRY_CHUNK(entry)];
}

static char *mapping_of(const struct guard *g)
{
    return g->is_first ? g->base - xs_mem_page() : g->base;
}

static struct xs_story story_of(const struct guard *g)
{
    return (struct xs_story){g->size, (enum xs_block_kind)g->kind, g->allocated, g->freed, true};
}

static struct xs_registers registers_of(const void *context)
{
    const ucontext_t *u = context;

#if defined(__x86_64__)
    return (struct xs_registers){(uintptr_t)u->uc_mcontext.gregs[REG_RIP],
                                 (uintptr_t)u->uc_mcontext.gregs[REG_RSP],
                                 (uintptr_t)u->uc_mcontext.gregs[REG_RBP]};
#elif defined(__aarch64__)
    return (struct xs_registers){u->uc_mcontext.pc, u->uc_mcontext.sp, u->uc_mcontext.regs[29]};
#else
#error "write it for this processor"
#endif
}

/* The compiler's unwinder starts in the handler: its frames, and the kernel's, come first. */
static unsigned stack_of(const struct xs_registers *at, uintptr_t pc[XS_STACK_FRAMES])
{
    unsigned n = xs_sample_stack_from(at, pc, XS_STACK_FRAMES);

    if (n != 0)
        return n;
    if (xs_backtrace_open(false))
        n = xs_backtrace(pc, XS_STACK_FRAMES);
    for (unsigned i = 0; i < n; i++) {
        if (pc[i] == at->ip) {
            memmove(pc, pc + i, (n - i) * sizeof(pc[0]));
            pc[0] = at->ip + 1;
            return n - i;
        }
    }
    pc[0] = at->ip + 1;
    return 1;
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    uint64_t entry = xs_page_map_get(info->si_addr);
    int saved = errno;

    if (XS_PAGE_MAP_OWNER(entry) == XS_OWNER_BFC && xs_block_class(entry) == XS_CLASS_GUARD) {
        const struct guard *g = guard_at(entry);
        struct xs_story s = story_of(g);
        struct xs_registers at = registers_of(context);
        uintptr_t found[XS_STACK_FRAMES];
        unsigned n = stack_of(&at, found);
        const char *what = "use after free";
        if (g->state == LIVE)
            what = (char *)info->si_addr < g->p ? "access before the start of a block"
                                                : "access beyond the end of a block";
        xs_hardened_tell(what, info->si_addr, &s, found, n);
    }
    /* The same instruction faults again, for whom it would have without us. */
    (void)sigaction(sig, &guards.before, NULL);
    errno = saved;
}

bool xs_guard_open(void)
{
    struct sigaction a = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    guards.record = xs_mem_map(RECORDS * sizeof(struct guard), 1);
    if (guards.record == NULL)
        return false;
    /* Whoever brought a handler of his own has it stay. */
    if (sigaction(SIGSEGV, NULL, &guards.before) == 0 && guards.before.sa_handler == SIG_DFL)
        (void)sigaction(SIGSEGV, &a, NULL);
    return true;
}

/* ---- records ---------------------------------------------------------------------------- */

/* UINT32_MAX: none left. */
static uint32_t take_record(void)
{
    uint32_t i = UINT32_MAX;

    xs_lock_take(&guards.lock);
    if (guards.free != 0) {
        i = guards.free - 1;
        guards.free = guards.record[i].next;
    } else if (guards.used < RECORDS) {
        i = guards.used++;
    }
    xs_lock_give(&guards.lock);
    return i;
}

static void give_record(uint32_t i)
{
    xs_lock_take(&guards.lock);
    guards.record[i].state = NONE;
    guards.record[i].next = guards.free;
    guards.free = i + 1;
    xs_lock_give(&guards.lock);
}

static void bury(uint32_t i)
{
    struct guard *g = &guards.record[i];

    xs_lock_take(&guards.lock);
    g->next = 0;
    if (guards.last_dead != 0)
        guards.record[guards.last_dead - 1].next = i + 1;
    else
        guards.first_dead = i + 1;
    guards.last_dead = i + 1;
    guards.dead++;
    guards.dead_bytes += g->bytes;
    xs_lock_give(&guards.lock);
}

/* The one that has been dead longest, if more than so many are: UINT32_MAX if not. */
static uint32_t dig(uint32_t most, size_t most_bytes)
{
    uint32_t i = UINT32_MAX;

    xs_lock_take(&guards.lock);
    if (guards.dead > most || (guards.dead > 0 && guards.dead_bytes > most_bytes)) {
        i = guards.first_dead - 1;
        guards.first_dead = guards.record[i].next;
        if (guards.first_dead == 0)
            guards.last_dead = 0;
        guards.dead--;
        guards.dead_bytes -= guards.record[i].bytes;
    }
    xs_lock_give(&guards.lock);
    return i;
}

static size_t mapping_bytes(const struct guard *g)
{
    return g->bytes + g->room + xs_mem_page();
}

static void unmap(uint32_t i)
{
    struct guard *g = &guards.record[i];

    /* Out of the map first: once unmapped, the range may be anybody's. */
    (void)xs_page_map_set(mapping_of(g), mapping_bytes(g), 0);
    (void)xs_mem_unmap(mapping_of(g), mapping_bytes(g));
    give_record(i);
}

static void drop(uint32_t most, size_t most_bytes)
{
    uint32_t i;

    while ((i = dig(most, most_bytes)) != UINT32_MAX)
        unmap(i);
}

void xs_guard_flush(void)
{
    drop(0, 0);
}

/* ---- blocks ----------------------------------------------------------------------------- */

static bool enter(const struct guard *g, uint64_t entry)
{
    return xs_page_map_set(mapping_of(g), mapping_bytes(g), entry) == 0;
}

static uint64_t entry_of(const struct guard *g)
{
    return xs_entry_of_chunk(XS_CLASS_GUARD, 0, (uint32_t)(g - guards.record));
}

static void fill_behind(const struct guard *g)
{
    memset(g->p + g->size, FILL, (size_t)(g->base + g->bytes - (g->p + g->size)));
}

static bool map(struct guard *g, size_t size, size_t align, enum xs_guard_side side)
{
    size_t page = xs_mem_page();
    size_t bytes = xs_align_up(size + (size == 0), page);
    char *at = xs_mem_map(bytes + page, 1);

    if (at == NULL)
        return false;
    g->is_first = side == XS_GUARD_BEFORE;
    g->base = g->is_first ? at + page : at;
    g->bytes = bytes;
    g->room = 0;
    g->size = size;
    g->p = g->is_first ? g->base : g->base + ((bytes - size) & ~(align - 1));
    if (xs_mem_forbid(g->is_first ? at : at + bytes, page) != 0 || !enter(g, entry_of(g))) {
        (void)xs_mem_unmap(at, bytes + page);
        return false;
    }
    memset(g->base, FILL, (size_t)(g->p - g->base));
    fill_behind(g);
    return true;
}

/* With room behind it, so it begins where its pages do and need not move when it grows. */
static bool map_roomy(struct guard *g, size_t size)
{
    size_t page = xs_mem_page();

    g->is_first = false;
    g->bytes = xs_align_up(size, page);
    g->room = xs_align_up(size / 4, page);
    g->size = size;
    g->base = g->p = xs_mem_reserve(mapping_bytes(g), 1);
    if (g->base == NULL)
        return false;
    if (xs_mem_writable(g->base, g->bytes) != 0 || !enter(g, entry_of(g))) {
        (void)xs_mem_unmap(g->base, mapping_bytes(g));
        return false;
    }
    return true;
}

/* `align` 0: with room. */
static struct guard *make(size_t size, size_t align, enum xs_guard_side side, uint32_t stack)
{
    int saved = errno;
    uint32_t i = size <= XS_SIZE_MAX_REQUEST / 2 ? take_record() : UINT32_MAX;

    if (i == UINT32_MAX)
        return NULL;
    struct guard *g = &guards.record[i];
    if (!(align != 0 ? map(g, size, align, side) : map_roomy(g, size))) {
        give_record(i);
        errno = saved;
        return NULL;
    }
    g->allocated = stack;
    g->freed = 0;
    g->kind = XS_BLOCK_MALLOC;
    g->state = LIVE;
    xs_heap_count_request(xs_heap_mine, size);
    return g;
}

void *xs_guard_alloc(size_t size, size_t align, enum xs_guard_side side, uint32_t stack)
{
    align = align < 16 ? 16 : align;
    struct guard *g = align <= xs_mem_page() ? make(size, align, side, stack) : NULL;

    return g != NULL ? g->p : NULL;
}

/* Of a pointer that must be a live block. */
static struct guard *checked(void *p, uint64_t entry, const char *call, uintptr_t pc)
{
    struct guard *g = guard_at(entry);
    struct xs_story s = story_of(g);
    XS_BUF(what, 80);

    if (g->state == LIVE && g->p == p)
        return g;
    if (g->p == p && g->state == DEAD)
        xs_hardened_die("double free", p, &s, pc);
    xs_fmt(&what, "%s of a pointer inside a block", call);
    xs_hardened_die(what.at, p, &s, pc);
}

size_t xs_guard_size(void *p, uint64_t entry, uintptr_t pc)
{
    return checked(p, entry, "use", pc)->size;
}

void xs_guard_mark(uint64_t entry, enum xs_block_kind kind)
{
    guard_at(entry)->kind = (uint8_t)kind;
}

static bool is_filled(const char *at, const char *end)
{
    while (at < end && (unsigned char)*at == FILL)
        at++;
    return at >= end;
}

static void check_around(const struct guard *g, uintptr_t pc)
{
    struct xs_story s = story_of(g);

    if (!is_filled(g->base, g->p))
        xs_hardened_die("write before the start of a block", g->p, &s, pc);
    if (!is_filled(g->p + g->size, g->base + g->bytes))
        xs_hardened_die("write beyond the end of a block", g->p, &s, pc);
}

/* Live no more. */
static void end(struct guard *g, uintptr_t pc)
{
    struct xs_story s = story_of(g);

    g->freed = xs_stacks_here(pc);
    /* One of two threads that free it at the same time is told. */
    if (__atomic_exchange_n(&g->state, DEAD, __ATOMIC_ACQ_REL) != LIVE)
        xs_hardened_die("double free", g->p, &s, pc);
}

static void put_away(struct guard *g)
{
    (void)xs_mem_forbid(g->base, g->bytes);
    bury((uint32_t)(g - guards.record));
    drop(DEAD_MOST, DEAD_MOST_BYTES);
}

void xs_guard_free(void *p, uint64_t entry, enum xs_block_kind kind, size_t size, uintptr_t pc)
{
    int saved = errno;
    struct guard *g = checked(p, entry, xs_free_names[kind], pc);
    struct xs_story s = story_of(g);

    check_around(g, pc); /* first, as of sealed blocks: what is let pass below hides nothing */
    /* What is only sampled goes by what others let pass. */
    bool strict = xs_hot.hardened.mode != XS_HARDENED_OFF;
    if (strict && g->kind != kind)
        xs_hardened_accuse_kind(p, &s, kind, pc);
    if (strict && size != SIZE_MAX && size != g->size)
        xs_hardened_accuse_size(p, &s, pc);
    end(g, pc);
    xs_heap_count_frees(xs_heap_mine, 1);
    (void)xs_mem_purge(g->base, g->bytes);
    put_away(g);
    errno = saved;
}

/* ---- blocks that grow ------------------------------------------------------------------- */

/* Its last page becomes whole, and as many more as it takes. */
static bool extend(struct guard *g, size_t size)
{
    size_t more = xs_align_up(size, xs_mem_page()) - g->bytes;
    char *end = g->base + g->bytes;

    if (more > g->room || (more != 0 && xs_mem_writable(end, more) != 0))
        return false;
    memset(g->p + g->size, 0, (size_t)((g->p + size < end ? g->p + size : end) - (g->p + g->size)));
    g->bytes += more;
    g->room -= more;
    g->size = size;
    fill_behind(g);
    xs_heap_count_request(xs_heap_mine, size);
    return true;
}

/* The pages of a block that has room come to `to`, which nobody has seen yet. False: `to` is gone,
 * as its pages may be. */
static bool move_pages(const struct guard *g, struct guard *to)
{
    /* Out of the map first, as in unmap. */
    (void)xs_page_map_set(g->base, g->bytes, 0);
    if (xs_mem_move(g->base, g->bytes, to->base, to->bytes) == 0) {
        memset(to->p + g->size, 0, g->bytes - g->size);
        return true;
    }
    (void)xs_page_map_set(g->base, g->bytes, entry_of(g));
    (void)enter(to, 0);
    xs_heap_uncount_request(to->size);
    give_record((uint32_t)(to - guards.record));
    return false;
}

/* Nobody may go where its pages were, unless another thread was given that range meanwhile. */
static void put_empty_away(struct guard *g)
{
    if (xs_mem_reserve_at(g->base, g->bytes)) {
        (void)enter(g, entry_of(g));
        put_away(g);
        return;
    }
    char *rest = g->base + g->bytes;
    size_t rest_bytes = mapping_bytes(g) - g->bytes;
    (void)xs_page_map_set(rest, rest_bytes, 0);
    (void)xs_mem_unmap(rest, rest_bytes);
    give_record((uint32_t)(g - guards.record));
}

void *xs_guard_grow(uint64_t entry, size_t size, uintptr_t pc)
{
    struct guard *g = guard_at(entry);
    bool moves = g->p == g->base;

    if (g->is_first || size <= g->size || size - g->size > g->size / 8)
        return NULL;
    int saved = errno;
    check_around(g, pc);
    if (moves && extend(g, size))
        return g->p;
    struct guard *to = make(size, 0, XS_GUARD_BEHIND, xs_stacks_here(pc));
    if (to == NULL || (moves && !move_pages(g, to))) {
        errno = saved;
        return NULL;
    }
    if (!moves)
        memcpy(to->p, g->p, g->size);
    fill_behind(to);
    end(g, pc);
    if (moves) {
        put_empty_away(g);
    } else {
        (void)xs_mem_purge(g->base, g->bytes);
        put_away(g);
    }
    errno = saved;
    return to->p;
}

/* ---- fork ------------------------------------------------------------------------------- */

void xs_guard_fork_prepare(void)
{
    guards.fork_took_lock = !xs_lock_is_mine(&guards.lock);
    if (guards.fork_took_lock)
        xs_lock_take(&guards.lock);
}

void xs_guard_fork_parent(void)
{
    if (guards.fork_took_lock)
        xs_lock_give(&guards.lock);
}

void xs_guard_fork_child(void)
{
    xs_lock_reset(&guards.lock);
}
