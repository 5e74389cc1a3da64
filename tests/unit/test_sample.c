/* Sampling: its mathematics, the table of sites, the list of modules, and walks. */
#include <alloca.h>
#include <criterion/criterion.h>
#include <link.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#include "report/sites.h"
#include "sample/modules.h"
#include "sample/sample.h"
#include "sample/table.h"
#include "sample/walk.h"
#include "sample/weight.h"

Test(sample, logarithm_and_exponential_are_exact)
{
    for (double x = 1e-16; x < 1e16; x *= 1.7)
        cr_assert_lt(fabs(xs_log_of(x) - log(x)), 1e-12 * (1 + fabs(log(x))), "log %g", x);
    for (double x = 1e-9; x < 60; x *= 1.1)
        cr_assert_lt(fabs(xs_one_less_exp(x) / -expm1(-x) - 1), 1e-11, "1 - exp(-%g)", x);
    for (double x = 1e-12; x < 1e18; x *= 3)
        cr_assert_lt(fabs(xs_root_of(x) / sqrt(x) - 1), 1e-12, "root %g", x);
    cr_assert_eq(xs_root_of(-1), 0);
    cr_assert_eq(xs_one_less_exp(0), 0);
}

/* Blocks of one size, drawn as the allocators draw. */
Test(sample, estimates_have_no_bias)
{
    const uint64_t mean = 4096;
    uint64_t n = 0;

    for (uint64_t size = 16; size <= 65536; size *= 8) {
        const int blocks = 400000;
        double sum = 0;
        double expected_variance = 0;
        int64_t left = xs_gap_of(xs_random_at(7, n++), mean);
        for (int i = 0; i < blocks; i++) {
            double p = xs_chance_of(size, mean);
            expected_variance += (1 - p) / p;
            if ((left -= (int64_t)size) >= 0)
                continue;
            sum += 1 / p;
            left = xs_gap_of(xs_random_at(7, n++), mean);
        }
        cr_assert_lt(fabs(sum - blocks), 4 * sqrt(expected_variance) + 1e-6, "size %lu: %g",
                     (unsigned long)size, sum);
    }
    cr_assert_eq(xs_gap_of(123, 1), 0);
    cr_assert_eq(xs_chance_of(0, 1), 1);
}

static const uint64_t here[] = {XS_FRAME(1, 0x10), XS_FRAME(1, 0x20)};
static const uint64_t there[] = {XS_FRAME(1, 0x30)};

static const void *at(uintptr_t i)
{
    return (const void *)(0x100000 + 16 * i);
}

static const struct xs_site *find(const uint64_t *frame, uint32_t depth)
{
    struct xs_sites *t = xs_table_sites();

    for (unsigned i = 0; i < XS_SITES; i++)
        if (t->site[i].hash != 0 && t->site[i].depth == depth && t->site[i].frame[0] == frame[0])
            return &t->site[i];
    return NULL;
}

Test(sample, the_peak_of_a_site_is_its_share_when_all_was_most)
{
    struct xs_sampled was;

    cr_assert(xs_table_open(1, XS_UNWIND_OFF));
    for (uintptr_t i = 0; i < 10; i++)
        cr_assert(xs_table_add(0, at(i), 100, here, 2));
    for (uintptr_t i = 0; i < 10; i++)
        cr_assert(xs_table_remove(0, at(i), &was));
    for (uintptr_t i = 0; i < 5; i++)
        cr_assert(xs_table_add(0, at(i), 150, there, 1));
    const struct xs_sites *t = xs_table_sites();
    cr_assert_eq(xs_site_peak_of(t, find(here, 2))->bytes, 1000);
    cr_assert_eq(xs_site_peak_of(t, find(there, 1))->bytes, 0);
    cr_assert_eq(find(here, 2)->live.bytes, 0);
    /* A new peak, of which both have a part. */
    cr_assert(xs_table_add(0, at(100), 400, here, 2));
    for (uintptr_t i = 5; i < 10; i++)
        cr_assert(xs_table_add(0, at(i), 150, there, 1));
    cr_assert(xs_table_remove(0, at(100), &was));
    cr_assert_eq(was.size, 400);
    cr_assert_eq(xs_site_peak_of(t, find(here, 2))->bytes, 400);
    cr_assert_eq(xs_site_peak_of(t, find(there, 1))->bytes, 1500);
    cr_assert_eq(t->kind[0].peak, 1900);
    cr_assert(xs_table_restore(&was));
    cr_assert_eq(find(here, 2)->live.bytes, 400);
    cr_assert_eq(find(here, 2)->total.bytes, 1400);
    cr_assert_not(xs_table_remove(0, at(101), &was));
    /* What is known of an address goes when it is met again. */
    cr_assert(xs_table_add(0, at(100), 10, there, 1));
    cr_assert_eq(find(here, 2)->live.bytes, 0);
}

Test(sample, host_and_device_may_have_the_same_address)
{
    struct xs_sampled was;

    cr_assert(xs_table_open(4096, XS_UNWIND_OFF));
    cr_assert(xs_table_add(0, at(1), 100, here, 2));
    cr_assert(xs_table_add(2, at(1), 300, here, 2));
    cr_assert(xs_table_remove(1, at(1), &was));
    cr_assert_eq(was.kind, 2);
    cr_assert_eq(was.size, 300);
    cr_assert(xs_table_may_hold(0, at(1)));
    cr_assert(xs_table_remove(0, at(1), &was));
    cr_assert_eq(was.size, 100);
    cr_assert_eq(xs_table_sites()->kind[2].peak, 300, "a device block stands for itself");
}

/* Against a plain array, through growth and removal in any order. */
Test(sample, many_blocks_are_found_again)
{
    static bool is_there[20000];
    struct xs_sampled was;

    cr_assert(xs_table_open(1, XS_UNWIND_OFF));
    for (uint64_t step = 0; step < 200000; step++) {
        uint64_t i = xs_random_at(1, step) % 20000;
        if (is_there[i])
            cr_assert(xs_table_remove(0, at(i), &was) && was.size == i);
        else
            cr_assert(xs_table_add(0, at(i), i, there, 1));
        is_there[i] = !is_there[i];
        cr_assert(!is_there[i] || xs_table_may_hold(0, at(i)));
    }
    uint64_t live = 0;
    for (uint64_t i = 0; i < 20000; i++)
        live += is_there[i];
    cr_assert_eq(find(there, 1)->live.samples, live);
}

Test(sample, a_full_table_tells_stacks_apart_by_their_first_functions)
{
    uint64_t frame[4] = {XS_FRAME(1, 1), XS_FRAME(1, 2), XS_FRAME(1, 3), 0};

    cr_assert(xs_table_open(1, XS_UNWIND_OFF));
    for (uint64_t i = 0; i < 5000; i++) {
        frame[3] = XS_FRAME(1, 100 + i);
        cr_assert(xs_table_add(0, at(i), 10, frame, 4));
    }
    const struct xs_sites *t = xs_table_sites();
    cr_assert_eq(t->rest.total.samples, 0);
    cr_assert_not_null(find(frame, 3));
    cr_assert_eq(find(frame, 3)->total.samples, 5000 - XS_SITES / 4 * 3);
    for (uint64_t i = 0; i < 5000; i++) {
        frame[0] = XS_FRAME(2, i);
        cr_assert(xs_table_add(0, at(10000 + i), 10, frame, 4));
    }
    cr_assert_neq(t->rest.total.samples, 0);
    cr_assert_leq(t->used, XS_SITES / 16 * 15);
}

Test(sample, modules_are_known_by_address)
{
    cr_assert(xs_modules_open());
    xs_modules_record();
    uintptr_t mine = (uintptr_t)&xs_modules_open;
    uintptr_t libc = (uintptr_t)&strlen;
    cr_assert(xs_modules_know(mine) && xs_modules_know(libc));
    cr_assert_not(xs_modules_know(16));
    cr_assert_not(xs_modules_learn(16));
    uint64_t frame = xs_modules_frame(libc);
    const struct xs_site_modules *m = xs_modules_section();
    cr_assert_neq(XS_FRAME_MODULE(frame), 0);
    const struct xs_site_module *module = &m->module[XS_FRAME_MODULE(frame) - 1];
    cr_assert_not_null(strstr(module->path, "libc.so"));
    cr_assert_eq(module->build_id_bytes, 20);
    cr_assert_eq(module->bias + XS_FRAME_OFFSET(frame), libc);
    cr_assert_eq(xs_modules_frame(16), XS_FRAME(0, 16));
    cr_assert_not(xs_modules_refresh());
    xs_modules_closing();
    cr_assert(xs_modules_refresh(), "nothing is certain while an object goes");
    cr_assert(xs_modules_know(libc), "what was there at start stays");
    xs_modules_closed();
    cr_assert(xs_modules_refresh());
    cr_assert_not(xs_modules_refresh());
}

Test(sample, runtimes_pools_are_no_findings)
{
    cr_assert_not_null(
        xs_site_suppressed("/usr/lib/libstdc++.so.6", "/lib64/ld-linux-x86-64.so.2"));
    cr_assert_null(xs_site_suppressed("/usr/lib/libstdc++.so.6", "/usr/bin/app"));
    cr_assert_null(xs_site_suppressed("/usr/bin/app", ""));
}

/* ---- walks: against the unwinder of the compiler's own library --------------------------- */

struct walked {
    uint64_t expected[XS_SITE_FRAMES];
    uint64_t frame[XS_SITE_FRAMES];
    uint32_t expected_depth;
    uint32_t depth;
};

static struct walked walked;

static _Unwind_Reason_Code note(struct _Unwind_Context *context, void *arg)
{
    uintptr_t at = _Unwind_GetIP(context) - 1;
    struct walked *w = arg;

    /* As in a sample, what is ours and comes first is left out: here the test itself. */
    if (at + 1 != 0 && w->expected_depth < XS_SITE_FRAMES &&
        (w->expected_depth > 0 || !xs_modules_is_ours(at)))
        w->expected[w->expected_depth++] = xs_modules_frame(at);
    return _URC_NO_REASON;
}

static int walk_both(const void *a, const void *b)
{
    walked = (struct walked){0};
    _Unwind_Backtrace(note, &walked);
    walked.depth = xs_walk(walked.frame);
    return *(const int *)a - *(const int *)b;
}

static void through_libc(void)
{
    int two[] = {2, 1};

    qsort(two, 2, sizeof(two[0]), walk_both);
}

static __attribute__((noinline)) void through_room(size_t n)
{
    volatile char *room = alloca(n);

    room[0] = room[n - 1] = 1;
    through_libc();
    room[0] = 2;
}

/* Arguments beyond the sixth lie on the stack, which is aligned below them: the frame is found by
 * what is stored there. */
static __attribute__((noinline)) void through_aligned(int deep, int b, int c, int d, int e, int f,
                                                      int last)
{
    _Alignas(128) volatile char room[256];

    room[deep] = 1;
    if (deep > 0)
        through_aligned(deep - 1, b, c, d, e, f, last + 1);
    else
        through_room(100 + (size_t)(b + c + d + e + f + last));
    cr_assert_eq((uintptr_t)room % 128, 0);
}

static void *through_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        xs_walk_forget();
        through_libc();
        cr_assert_gt(walked.depth, 3);
        cr_assert_eq(walked.depth, walked.expected_depth, "%u frames instead of %u", walked.depth,
                     walked.expected_depth);
        cr_assert(memcmp(walked.frame, walked.expected, walked.depth * sizeof(uint64_t)) == 0);
        through_aligned(5 * i, 2, 3, 4, 5, 6, 7);
        cr_assert_eq(walked.depth, walked.expected_depth, "%u frames instead of %u", walked.depth,
                     walked.expected_depth);
        cr_assert(memcmp(walked.frame, walked.expected, walked.depth * sizeof(uint64_t)) == 0);
    }
    return NULL;
}

Test(sample, walks_by_tables_are_what_the_compilers_unwinder_finds)
{
    pthread_t other;

    cr_assert(xs_modules_open());
    (void)through_all(NULL);
    cr_assert_eq(pthread_create(&other, NULL, through_all, NULL), 0);
    pthread_join(other, NULL);
}

/* Large programs call malloc from hundreds of places: what is found out of one is not forgotten for
 * another, but for a few, wherever the code happens to lie. */
Test(sample, what_is_found_out_of_a_thousand_places_is_remembered)
{
    struct xs_registers from = xs_registers_here();
    uintptr_t code = (uintptr_t)qsort;
    uintptr_t pc[1];
    unsigned unknown = 0;

    cr_assert(xs_modules_open());
    for (unsigned i = 0; i < 1000; i++) {
        from.ip = code + (uintptr_t)16 * i;
        (void)xs_walk_addresses(&from, pc, 1);
    }
    for (unsigned i = 0; i < 1000; i++) {
        from.ip = code + (uintptr_t)16 * i;
        unknown += xs_walk_known(&from, pc, 1) == XS_WALK_UNKNOWN;
    }
    cr_assert_lt(unknown, 50, "%u were forgotten", unknown);
}

/* From many threads at once, while what is remembered is forgotten again and again: every stack is
 * the one that the thread saw alone. */
struct asker {
    uintptr_t expected[16];
    uint32_t depth;
    int other_stacks;
};

static atomic_bool is_over;

static __attribute__((noinline)) uint32_t ask_from(int deep, uintptr_t pc[16])
{
    if (deep == 0)
        return xs_sample_stack(pc, 16);
    uint32_t n = ask_from(deep - 1, pc);
    __asm__ volatile("");
    return n;
}

static int ask_in_libc(const void *a, const void *b)
{
    uintptr_t pc[16];
    struct asker *me = *(struct asker *const *)a;
    uint32_t n = ask_from(3, pc);

    (void)b;
    if (me->depth == 0) {
        memcpy(me->expected, pc, sizeof(pc));
        me->depth = n;
    } else if (n != me->depth || memcmp(pc, me->expected, n * sizeof(pc[0])) != 0) {
        me->other_stacks++;
    }
    return 0;
}

static void *ask_often(void *arg)
{
    void *two[] = {arg, arg};

    for (int i = 0; i < 20000; i++)
        qsort(two, 2, sizeof(two[0]), ask_in_libc);
    return NULL;
}

static void *forget_often(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        xs_sample_closing();
        xs_sample_closed();
        usleep(100);
    }
    return NULL;
}

Test(sample, stacks_are_the_same_from_many_threads)
{
    struct asker asker[4] = {0};
    pthread_t t[5];

    xs_sample_stack_open();
    cr_assert_eq(pthread_create(&t[4], NULL, forget_often, NULL), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, ask_often, &asker[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    atomic_store(&is_over, true);
    pthread_join(t[4], NULL);
    for (int i = 0; i < 4; i++) {
        cr_assert_gt(asker[i].depth, 3);
        cr_assert_eq(asker[i].other_stacks, 0);
    }
}

/* The end of the mapping that the address lies in. */
struct mapping {
    uintptr_t address;
    uintptr_t end;
};

static int find_mapping(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct mapping *m = arg;

    (void)size;
    for (ElfW(Half) i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && m->address >= at && m->address < at + p->p_memsz)
            m->end = at + p->p_memsz;
    }
    return 0;
}

/* A copy of the tables ends where nothing may be read, wherever that is in them. */
Test(sample, tables_are_not_read_beyond_their_end)
{
    struct xs_cfi_table real;
    uintptr_t code = (uintptr_t)qsort;

    cr_assert(xs_modules_open());
    cr_assert(xs_modules_table(code, &real));
    struct xs_cfi whole = xs_cfi_find(&real, code);
#if defined(__x86_64__) /* elsewhere a function begins with its caller's address in a register */
    cr_assert_eq(whole.kind, XS_CFI_CALLER);
#endif
    struct mapping m = {real.header, 0};
    (void)dl_iterate_phdr(find_mapping, &m);
    size_t bytes = m.end - real.header;
    size_t room = (bytes + 4095) & ~(size_t)4095;
    char *copy =
        mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(copy, MAP_FAILED);
    cr_assert_eq(mprotect(copy + room, 4096, PROT_NONE), 0);
    for (size_t n = 1, i = 0; n <= bytes; n = i < 64 ? n + 1 : n + bytes / 997, i++) {
        size_t kept = n > bytes - bytes / 997 ? bytes : n;
        char *at = copy + room - kept;
        memcpy(at, (const void *)real.header, kept);
        struct xs_cfi_table t = {(uintptr_t)at, (uintptr_t)at, (uintptr_t)at + kept};
        struct xs_cfi rule = xs_cfi_find(&t, (uintptr_t)at + (code - real.header));
        cr_assert(kept < bytes || rule.kind == whole.kind);
    }
}
