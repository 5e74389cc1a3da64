#include "policy/select.h"

#include <string.h>
#include <sys/single_threaded.h>

#include "backend/aligned.h"
#include "backend/counted.h"
#include "backend/hardened.h"
#include "backend/sampled.h"
#include "policy/config.h"
#include "policy/route.h"
#include "sample/sample.h"
#include "stats/latency.h"
#include "sys/mem.h"
#include "sys/proc.h"

static struct {
    uint32_t count;
    struct {
        size_t last;
        enum xs_owner owner;
    } step[XS_ROUTE_STEPS_MAX];
    bool opened; /* some back end besides the C library has been opened */
    bool counting;
    bool is_read; /* somebody is told: calls are timed for him */
    bool keeps_errno;
    bool had_threads;      /* more than one, or is about to have */
    bool is_alone;         /* so XS_COUNTING_ALONE is in use */
    bool samples_in_front; /* of all back ends, for the own core cannot do it */
    uint64_t off_since_ns;
    uint64_t off_ns;
} policy = {.count = 1, .step = {{SIZE_MAX, XS_OWNER_SYSTEM}}, .counting = true};

_Static_assert(XS_ROUTE_STEPS_MAX > XS_ROUTE_MAX, "a parsed route fits the hot page");

/* All steps lead to one back end. */
static bool is_single(void)
{
    for (uint32_t i = 1; i < policy.count; i++)
        if (policy.step[i].owner != policy.step[0].owner)
            return false;
    return true;
}

/* A word of the hot page; release, so that what was stored before is seen by who sees this. */
#define SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)

static void set_frees(void (*free)(void *p), void *(*realloc)(void *p, size_t size))
{
    SET(xs_hot.inner.free, free);
    SET(xs_hot.inner.realloc, realloc);
    SET(xs_hot.beneath.free, free);
    SET(xs_hot.beneath.realloc, realloc);
    SET(xs_hot.entry.free, policy.samples_in_front ? xs_sampled_calls().free : free);
    SET(xs_hot.entry.realloc, policy.samples_in_front ? xs_sampled_calls().realloc : realloc);
}

static void set_steps(bool counting)
{
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        const struct xs_backend *b = xs_backends[i];
        SET(xs_hot.free_own[i], counting ? b->free_own_counted : b->free_own);
        SET(xs_hot.realloc_own[i], counting ? b->realloc_own_counted : b->realloc_own);
    }
    /* The last step first: it is the one that ends every search. */
    for (uint32_t i = policy.count; i-- > 0;) {
        SET(xs_hot.step[i].calls, xs_backends[policy.step[i].owner]->calls(counting));
        SET(xs_hot.step[i].owner, policy.step[i].owner);
        SET(xs_hot.step[i].last, policy.step[i].last);
    }
    xs_hot.step_count = policy.count;
    xs_hot.counting = counting;
}

static void set_calls(struct xs_calls *to, const struct xs_calls *from)
{
    SET(to->malloc, from->malloc);
    SET(to->zalloc, from->zalloc);
    SET(to->memalign, from->memalign);
}

/* Where nothing looks at calls in front of the back ends: what is mimalloc's by its address, or in
 * a process of glibc alone every block, is freed by its function at once. Another thread might have
 * one of these words and not yet the next: they are set only where there is none. */
static void set_shortcuts(bool is_single)
{
    const struct xs_backend *first = xs_backends[policy.step[0].owner];
    enum xs_counting counting = XS_COUNTING_EACH;
    struct xs_shortcuts s = {0};

    if (!__libc_single_threaded || first->shortcuts == NULL || xs_hardened_is_on() ||
        (first->owner == XS_OWNER_SYSTEM && !(is_single && !policy.opened)))
        return;
    if (!policy.counting)
        counting = XS_COUNTING_OFF;
    else if (!policy.had_threads && xs_stats_is_alone())
        counting = XS_COUNTING_ALONE;
    policy.is_alone = counting == XS_COUNTING_ALONE;
    xs_hot.end_alone = xs_policy_threads;
    first->shortcuts(&s, counting);
    if (s.free == NULL)
        return;
    if (s.malloc != NULL && policy.step[0].last >= s.last)
        xs_hot.entry.malloc = s.malloc;
    if (s.zalloc != NULL && policy.step[0].last >= s.last)
        xs_hot.entry.zalloc = s.zalloc;
    xs_hot.entry.free = xs_any_free; /* what is left is NULL or another's */
    xs_hot.short_free = s.free;
    xs_hot.short_below = s.below;
    xs_hot.short_from = s.from;
}

/* Fills in the hot page; the caller has unlocked it. Threads may be allocating meanwhile, so free
 * and realloc ask for the owner of every pointer from before the first block of a new back end
 * exists until after the last of an old one was made. */
static void fill(size_t align)
{
    bool single = is_single();

    SET(xs_hot.core_below, 0);
    SET(xs_hot.short_from, UINTPTR_MAX);
    SET(xs_hot.short_below, UINTPTR_MAX);
    set_frees(xs_any_free, xs_any_realloc);
    set_steps(policy.counting);
    struct xs_calls inner = single ? *xs_hot.step[0].calls : xs_routed_calls;
    /* glibc's own free is only right where nobody else has ever made a block. */
    if (single && policy.step[0].owner == XS_OWNER_SYSTEM && policy.opened) {
        inner.free = xs_any_free;
        inner.realloc = xs_any_realloc;
    }
    xs_hot.align = align;
    struct xs_calls entry = align > 16 ? xs_aligned_calls() : inner;
    if (policy.keeps_errno)
        entry.free = xs_errno_keeping_free;
    set_calls(&xs_hot.beneath, &entry);
    struct xs_calls beneath = entry;
    if (policy.samples_in_front)
        entry = xs_sampled_calls();
    set_calls(&xs_hot.inner, &inner);
    set_calls(&xs_hot.entry, &entry);
    SET(xs_hot.inner.free, inner.free);
    SET(xs_hot.inner.realloc, inner.realloc);
    SET(xs_hot.beneath.free, beneath.free);
    SET(xs_hot.beneath.realloc, beneath.realloc);
    SET(xs_hot.entry.free, entry.free);
    SET(xs_hot.entry.realloc, entry.realloc);
    bool is_core = entry.free == xs_backend_bfc.calls(false)->free;
    SET(xs_hot.core_below, is_core ? XS_CLASS_TABLE_MAX + 1 : 0);
    if (is_core)
        SET(xs_hot.short_below, 0);
    else if (align <= 16 && !policy.keeps_errno && !policy.samples_in_front)
        set_shortcuts(single);
}

/* Calls go through the sampler in front of all only where there is one; else the own core times
 * its own, unless its blocks are checked: the calls are another's then. */
static void time_calls(void)
{
    bool is_core = is_single() && policy.step[0].owner == XS_OWNER_BFC;

    if (!policy.counting || !policy.is_read || xs_hardened_is_on() ||
        xs_config(XS_KNOB_STATS_LATENCY)->num == 0)
        xs_latency_switch(XS_LATENCY_OFF);
    else if (policy.samples_in_front && !is_core)
        xs_latency_switch(XS_LATENCY_IN_FRONT);
    else
        xs_latency_switch(XS_LATENCY_IN_CORE);
}

static void apply(size_t align)
{
    XS_BUF(unused, 8);

    (void)xs_backend_open(XS_OWNER_SYSTEM, NULL, &unused);
    if (xs_hot_unlock()) {
        fill(align);
        xs_hot_lock();
    }
}

static uint64_t reserve_bytes(void)
{
    const struct xs_value *v = xs_config(XS_KNOB_RESERVE);
    const uint64_t tib = (uint64_t)1 << 40;

    /* Under a limit of ours it takes range by range, which are counted. */
    if (strcmp(v->text, "off") == 0 || xs_config(XS_KNOB_MEMORY_LIMIT)->num != 0)
        return 0;
    if (strcmp(v->text, "auto") != 0)
        return v->num;
    /* A reservation under a limit on address space is taken from the program; an emulator may keep
     * a record of every page of it (qemu-user before 8 took all memory for that). */
    return xs_mem_space_is_free() && !xs_proc_is_emulated() ? tib : 0;
}

/* Where memory comes from, whoever asks for it. */
static void open_supply(void)
{
    const struct xs_supply_options supply = {
        .huge = (enum xs_huge)xs_config(XS_KNOB_CPU_HUGE_PAGES)->num,
        .limit_bytes = xs_config(XS_KNOB_MEMORY_LIMIT)->num,
    };
    uint64_t run = xs_config_nodes(XS_KNOB_CPU_NUMA_RUN);
    int rc = run != 0 ? xs_numa_run(run) : 0;

    if (rc != 0)
        xs_config_warn("XSIGMA_CPU_NUMA_RUN=%s: the process cannot run there (%s)",
                       xs_config(XS_KNOB_CPU_NUMA_RUN)->text, strerrorname_np(rc));
    rc = xs_numa_open((enum xs_numa)xs_config(XS_KNOB_CPU_NUMA)->num,
                      xs_config_nodes(XS_KNOB_CPU_NUMA));
    if (rc != 0)
        xs_config_warn("XSIGMA_CPU_NUMA=%s: the process may use no memory there (%s); using off",
                       xs_config(XS_KNOB_CPU_NUMA)->text, strerrorname_np(rc));
    xs_supply_open(&supply);
}

static bool wants_huge(void)
{
    return xs_config(XS_KNOB_CPU_HUGE_PAGES)->num > XS_HUGE_AUTO;
}

static uint64_t mimalloc_huge_gib(bool has_core)
{
    uint64_t gib = xs_config(XS_KNOB_CPU_MIMALLOC_RESERVE_HUGE_OS_PAGES)->num;

    if (gib == 0 && !has_core)
        gib = (xs_config(XS_KNOB_RESERVE_HUGE_PAGES)->num + XS_GIB(1) - 1) / XS_GIB(1);
    return gib;
}

/* `owners`: a bit for each back end that is to serve. */
static struct xs_backend_options backend_options(unsigned owners)
{
    bool has_core = (owners & 1u << XS_OWNER_BFC) != 0;
    bool has_mimalloc = (owners & 1u << XS_OWNER_MIMALLOC) != 0;

    return (struct xs_backend_options){
        .mimalloc_library = xs_config(XS_KNOB_CPU_MIMALLOC_LIBRARY)->text,
        .mimalloc_reserve_bytes = has_mimalloc ? reserve_bytes() : 0,
        .mimalloc_reserve_is_given = strcmp(xs_config(XS_KNOB_RESERVE)->text, "auto") != 0,
        .mimalloc_huge_gib = mimalloc_huge_gib(has_core),
        .mimalloc_show_stats = xs_config(XS_KNOB_CPU_MIMALLOC_SHOW_STATS)->num != 0,
        .mimalloc_verbose = xs_config(XS_KNOB_CPU_MIMALLOC_VERBOSE)->num != 0,
        .mimalloc_eager_commit = xs_config(XS_KNOB_CPU_MIMALLOC_EAGER_COMMIT)->num != 0,
        .mimalloc_large_pages =
            wants_huge() || xs_config(XS_KNOB_CPU_MIMALLOC_LARGE_OS_PAGES)->num != 0,
        .tbb_library = xs_config(XS_KNOB_CPU_TBB_LIBRARY)->text,
        .tbb_huge_pages = xs_config(XS_KNOB_CPU_TBB_HUGE_PAGES)->num != 0,
        .bfc =
            {
                .span =
                    {
                        .initial_bytes = xs_config(XS_KNOB_BFC_INITIAL)->num,
                        .limit_bytes = xs_config(XS_KNOB_BFC_LIMIT)->num,
                        .allow_growth = xs_config(XS_KNOB_BFC_GROWTH)->num != 0,
                        .garbage_collection = xs_config(XS_KNOB_BFC_GC)->num != 0,
                        .coalesce_on_free = xs_config(XS_KNOB_BFC_COALESCE)->num != 0,
                        .fragmentation_permille =
                            (unsigned)xs_config(XS_KNOB_BFC_FRAGMENTATION)->num,
                        .decay_ns = xs_config(XS_KNOB_CPU_DECAY)->num,
                        .is_limited = xs_config(XS_KNOB_MEMORY_LIMIT)->num != 0,
                        .arenas_max = (unsigned)xs_config(XS_KNOB_BFC_ARENAS)->num,
                        .reserve_huge_bytes =
                            has_core ? xs_config(XS_KNOB_RESERVE_HUGE_PAGES)->num : 0,
                        .prefault_bytes = xs_config(XS_KNOB_PREFAULT)->num,
                        .prefault_lock = xs_config(XS_KNOB_PREFAULT_LOCK)->num != 0,
                    },
                .cache_bytes = xs_config(XS_KNOB_CPU_CACHE)->num,
                .retry_ns = xs_config(XS_KNOB_BFC_RETRY)->num,
            },
        .quarantine_bytes = xs_config(XS_KNOB_CPU_QUARANTINE)->num,
    };
}

/* The owner behind an index into the choices of XSIGMA_CPU_BACKEND. */
static enum xs_owner owner_of_choice(int choice)
{
    const char *name = xs_knob_choices(&xs_knob_rows[XS_KNOB_CPU_BACKEND]);

    for (; choice > 0; choice--)
        name = strchr(name, '|') + 1;
    return xs_backend_find(name, strcspn(name, "|"))->owner;
}

/* The wanted back end, or with a warning, once a back end, another one: system, but where a limit
 * is set the own core, which keeps to it. */
static enum xs_owner open_or_other(enum xs_owner wanted, const struct xs_backend_options *options)
{
    static bool said[XS_OWNER_COUNT];
    XS_BUF(why, 256);

    int rc = xs_backend_open(wanted, options, &why);
    bool is_limited = xs_config(XS_KNOB_MEMORY_LIMIT)->num != 0 && wanted != XS_OWNER_BFC;
    if (rc != 0 && !said[wanted])
        xs_config_warn("back end %s is not available, using %s: %s", xs_backends[wanted]->name,
                       is_limited ? "bfc, which keeps to XSIGMA_MEMORY_LIMIT" : "system", why.at);
    else if (why.len != 0 && !said[wanted])
        xs_config_warn("back end %s: %s", xs_backends[wanted]->name, why.at);
    said[wanted] = true;
    policy.opened |= rc == 0 && wanted != XS_OWNER_SYSTEM;
    if (rc != 0 && is_limited)
        return open_or_other(XS_OWNER_BFC, options);
    return rc == 0 ? wanted : XS_OWNER_SYSTEM;
}

/* Before the first block of the own core. */
static void harden(void (*warn)(const char *text))
{
    uint64_t mode = xs_config(XS_KNOB_CPU_HARDENED)->num;
    uint64_t every = xs_config(XS_KNOB_CPU_GUARD_SAMPLE)->num;

    if (mode == XS_HARDENED_OFF && every == 0)
        return;
    xs_hot.backend[XS_OWNER_BFC] = &xs_backend_hardened;
    xs_hot.hardened.mode = (uint8_t)mode;
    xs_hot.hardened.warn = warn;
    xs_hot.hardened.mismatch = (uint8_t)xs_config(XS_KNOB_CPU_MISMATCH)->num;
    xs_hot.hardened.guard_every = (uint32_t)every;
    xs_hot.hardened.key = xs_hardened_key();
}

static void add_step(size_t last, enum xs_owner owner)
{
    policy.step[policy.count].last = last;
    policy.step[policy.count++].owner = owner;
}

/* What mimalloc 3 has no blocks for is the own core's, which keeps to the limits that are set. */
static void add_steps(size_t last, enum xs_owner owner, const struct xs_backend_options *options)
{
    size_t below = policy.count != 0 ? policy.step[policy.count - 1].last : 0;

    if (owner == XS_OWNER_MIMALLOC && last > xs_hot.mimalloc.size_max) {
        if (below < xs_hot.mimalloc.size_max)
            add_step(xs_hot.mimalloc.size_max, owner);
        owner = open_or_other(XS_OWNER_BFC, options);
    }
    add_step(last, owner);
}

static bool is_asked_for(enum xs_knob knob)
{
    return xs_config(knob)->source > XS_SOURCE_PRESET;
}

static void warn_of(enum xs_knob knob, bool is_vain, const char *why)
{
    if (is_vain && is_asked_for(knob) && xs_config(knob)->num != 0)
        xs_config_warn("%s=%s is of no effect %s", xs_knob_name(&xs_knob_rows[knob]),
                       xs_config(knob)->text, why);
}

static void warn_of_less(enum xs_knob knob, uint64_t had, const char *where)
{
    XS_BUF(bytes, 32);

    if (had >= xs_config(knob)->num)
        return;
    xs_put_bytes(&bytes, had);
    xs_config_warn("%s=%s: there are %s to be had, %s", xs_knob_name(&xs_knob_rows[knob]),
                   xs_config(knob)->text, bytes.at, where);
}

/* What was asked for of memory and is not had, or not of these back ends. `owners`: a bit for each
 * that serves. */
static void warn_of_supply(unsigned owners)
{
    bool has_core = (owners & 1u << XS_OWNER_BFC) != 0;
    bool has_mimalloc = (owners & 1u << XS_OWNER_MIMALLOC) != 0;
    bool is_system = owners == 1u << XS_OWNER_SYSTEM;
    struct xs_supply_stats had;

    warn_of(XS_KNOB_MEMORY_LIMIT, (owners & 1u << XS_OWNER_SYSTEM) != 0,
            "on the back end system, which takes what it wants");
    warn_of(XS_KNOB_PREFAULT, !has_core, "without the back end bfc");
    warn_of(XS_KNOB_RESERVE_HUGE_PAGES, !has_core && !has_mimalloc,
            "without the back end bfc or mimalloc");
    warn_of(XS_KNOB_CPU_HUGE_PAGES, is_system && wants_huge(), "with the back end system");
    warn_of(XS_KNOB_PRESSURE_WARN, is_system, "with the back end system alone");
    if (xs_config(XS_KNOB_CPU_NUMA)->num != XS_NUMA_OFF && xs_numa_count() > 1)
        warn_of(XS_KNOB_CPU_NUMA,
                is_system || (xs_config(XS_KNOB_CPU_NUMA)->num == XS_NUMA_LOCAL && !has_core),
                is_system ? "with the back end system" : "without the back end bfc");
    if (!has_core)
        return;
    xs_supply_stats(&had);
    warn_of_less(XS_KNOB_PREFAULT, had.prefault_bytes,
                 "of the machine, its memory cgroup and the limits that are set");
    warn_of_less(XS_KNOB_RESERVE_HUGE_PAGES, had.explicit_bytes,
                 "of the kernel's pool (vm.nr_hugepages)");
    warn_of(XS_KNOB_PREFAULT_LOCK, had.prefault_locked_bytes == 0,
            had.prefault_bytes == 0 ? "without XSIGMA_PREFAULT" : "under this ulimit -l");
}

void xs_policy_start(void (*warn)(const char *text))
{
    const struct xs_knob_row *row = &xs_knob_rows[XS_KNOB_CPU_BACKEND];
    int chosen = (int)xs_config(XS_KNOB_CPU_BACKEND)->num;
    struct xs_route route = {.count = 1, .step = {{SIZE_MAX, chosen}}};
    XS_BUF(unused, 8);

    if (xs_config(XS_KNOB_CPU_ROUTE)->text[0] != '\0')
        (void)xs_route_parse(xs_config(XS_KNOB_CPU_ROUTE)->text, xs_knob_choices(row), chosen,
                             &route, &unused);
    if (!xs_hot_open()) {
        xs_config_warn("memory cannot be made writable: the C library's malloc serves");
        return;
    }
    harden(warn);
    unsigned owners = 0;
    for (size_t i = 0; i < route.count; i++)
        owners |= 1u << owner_of_choice(route.step[i].choice);
    struct xs_backend_options options = backend_options(owners);
    if (!xs_config_is_small()) /* each page counts there */
        open_supply();
    policy.count = 0;
    for (size_t i = 0; i < route.count; i++)
        add_steps(route.step[i].last,
                  open_or_other(owner_of_choice(route.step[i].choice), &options), &options);
    owners = 0;
    for (uint32_t i = 0; i < policy.count; i++)
        owners |= 1u << policy.step[i].owner;
    warn_of_supply(owners);
    if (xs_hardened_is_on() && !xs_backend_is_open(XS_OWNER_BFC))
        xs_config_warn(
            "XSIGMA_CPU_HARDENED and XSIGMA_CPU_GUARD_SAMPLE are of no effect without bfc");
    policy.counting = strcmp(xs_config(XS_KNOB_STATS)->text, "0") != 0;
    policy.off_since_ns = policy.counting ? 0 : xs_proc_now_ns();
    xs_counted_switch(policy.counting);
    apply(xs_config(XS_KNOB_CPU_ALIGN)->num);
    /* Where small blocks are another's, glibc's part may come first in any thread. */
    if (!is_single() && policy.step[policy.count - 1].owner == XS_OWNER_SYSTEM)
        xs_system_begin();
}

/* The own core alone serves, its blocks have no seals, and few enough are sampled for each to have
 * a page. */
static bool core_can_sample(void)
{
    return is_single() && !xs_hardened_is_on() && policy.step[0].owner == XS_OWNER_BFC &&
           xs_config(XS_KNOB_SAMPLE)->num >= XS_SAMPLE_PAGED_FROM;
}

static enum xs_unwinder unwinder(void)
{
    const char *text = xs_config(XS_KNOB_UNWIND)->text;

    if (strcmp(text, "off") == 0)
        return XS_UNWIND_OFF;
    return strcmp(text, "fp") == 0 ? XS_UNWIND_FP : XS_UNWIND_LIBUNWIND;
}

void xs_policy_sample(bool host)
{
    XS_BUF(why, 160);
    struct xs_sample_options options = {
        .mean_bytes = xs_config(XS_KNOB_SAMPLE)->num,
        .seed = xs_config(XS_KNOB_SAMPLE_SEED)->num,
        .unwinder = unwinder(),
    };

    policy.is_read = true;
    time_calls();
    if (options.mean_bytes == 0)
        return;
    bool done = xs_sample_open(&options, &why);
    if (!done)
        xs_config_warn("sampling is off: %s", why.at);
    else if (why.len != 0)
        xs_config_warn("stacks are walked by frame pointers: %s", why.at);
    if (!done)
        return;
    if (!host) {
        xs_sample_begin(XS_SAMPLE_DEVICES);
    } else if (core_can_sample()) {
        xs_sample_begin(XS_SAMPLE_IN_CORE);
        xs_heap_sample_start();
    } else {
        xs_sample_begin(XS_SAMPLE_IN_FRONT);
        policy.samples_in_front = true;
        time_calls();
        apply(xs_hot.align);
    }
}

void xs_policy_bypass(void)
{
    policy.counting = false;
    apply(16);
}

void xs_policy_count(bool on)
{
    /* Whoever holds the page may change the policy too. */
    if (!xs_hot_unlock())
        return;
    if (on != policy.counting) {
        policy.counting = on;
        xs_counted_switch(on);
        time_calls();
        if (on)
            policy.off_ns += xs_proc_now_ns() - policy.off_since_ns;
        else
            policy.off_since_ns = xs_proc_now_ns();
        fill(xs_hot.align);
    }
    xs_hot_lock();
}

void xs_policy_threads(void)
{
    if (policy.had_threads)
        return;
    policy.had_threads = true;
    if (!policy.is_alone || !xs_hot_unlock())
        return;
    policy.is_alone = false;
    fill(xs_hot.align);
    xs_hot_lock();
}

void xs_policy_keep_errno(void)
{
    if (!xs_hot_unlock())
        return;
    policy.keeps_errno = true;
    fill(xs_hot.align);
    xs_hot_lock();
}

uint64_t xs_policy_not_counting_ns(void)
{
    return policy.off_ns + (policy.counting ? 0 : xs_proc_now_ns() - policy.off_since_ns);
}

void xs_policy_fork_prepare(void)
{
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (xs_backend_is_open((enum xs_owner)i) && xs_backends[i]->fork_prepare != NULL)
            xs_backends[i]->fork_prepare();
}

void xs_policy_fork_parent(void)
{
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        if (xs_backend_is_open((enum xs_owner)i) && xs_backends[i]->fork_parent != NULL)
            xs_backends[i]->fork_parent();
}

void xs_policy_fork_child(bool was_threaded)
{
    bool changed = false;

    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        if (!xs_backend_is_open((enum xs_owner)i) || xs_backends[i]->survives_fork(was_threaded))
            continue;
        xs_backend_retire((enum xs_owner)i);
        for (uint32_t s = 0; s < policy.count; s++) {
            if (policy.step[s].owner == i) {
                policy.step[s].owner = XS_OWNER_SYSTEM;
                changed = true;
            }
        }
    }
    if (changed)
        apply(xs_hot.align);
}
