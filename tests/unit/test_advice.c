/* Every rule of advice: a snapshot that provokes it, one that does not, and what it suggests. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/advice.h"
#include "report/timeline.h"

static struct xs_report r;
static char kept[16384];
static size_t kept_len;

static void keep(const char *text, size_t len, void *arg)
{
    (void)arg;
    cr_assert(kept_len + len < sizeof(kept));
    memcpy(kept + kept_len, text, len);
    kept_len += len;
    kept[kept_len] = '\0';
}

static void set(const char *name, const char *value)
{
    setenv(name, value, 1);
    xs_config_load(false);
}

/* What the rule says of r, or NULL; and it must be a value that the variable takes. */
static const struct xs_advice *said(const char *id)
{
    static struct xs_advice a;
    const struct xs_advice_from from = xs_advice_from(&r);
    unsigned at = 0;

    while (xs_advice_next(&from, &at, &a)) {
        enum xs_knob knob;
        int device;
        uint64_t ignored;
        cr_assert(a.text[0] != '\0' && a.metric[0] != '\0');
        if (a.variable[0] != '\0') {
            cr_assert(xs_config_find(a.variable, strlen(a.variable), &knob, &device), "%s",
                      a.variable);
            cr_assert_eq(xs_config_parse(&xs_knob_rows[knob], a.suggested, &ignored), 0, "%s=%s",
                         a.variable, a.suggested);
            cr_assert_str_neq(a.suggested, a.current, "%s suggests what is", id);
        }
        if (strcmp(a.id, id) == 0)
            return &a;
    }
    return NULL;
}

#define SAYS(id, name, value)                                                                      \
    do {                                                                                           \
        const struct xs_advice *says = said(id);                                                   \
        cr_assert(says != NULL, "%s is silent", id);                                               \
        cr_assert_str_eq(says->variable, name);                                                    \
        cr_assert_str_eq(says->suggested, value);                                                  \
    } while (0)
#define SILENT(id) cr_assert(said(id) == NULL, "%s: %s", id, said(id)->text)

/* A process of ten seconds with the own core, nothing else. */
static void begin(void)
{
    memset(&r, 0, sizeof(r));
    r.wall_ns = 10000000000;
    r.counting = true;
    r.open[XS_OWNER_BFC] = r.active[XS_OWNER_BFC] = r.has_core = true;
    xs_config_load(false);
}

static void serve_by(enum xs_owner owner)
{
    memset(r.active, 0, sizeof(r.active));
    r.open[owner] = r.active[owner] = true;
}

static struct xs_gpu_stats *device(void)
{
    begin();
    r.gpu_count = 1;
    r.gpu[0].stats = (struct xs_gpu_stats){
        .allocations = 200000,
        .requested_bytes = 200000 * 4096ULL,
        .hits = 199800,
        .misses_cold = 200,
        .in_use_bytes = XS_MIB(1),
        .in_use_bytes_peak = XS_MIB(900),
        .cached_bytes_peak = XS_MIB(100),
        .reserved_bytes = XS_MIB(101),
        .reserved_bytes_peak = XS_MIB(1000),
        .largest_request_bytes = XS_MIB(64),
        .cache_max_bytes = XS_MIB(256),
        .backend = "caching",
    };
    return &r.gpu[0].stats;
}

Test(advice, none_where_all_is_well)
{
    struct xs_advice a;
    unsigned at = 0;

    device();
    const struct xs_advice_from from = xs_advice_from(&r);
    cr_assert(!xs_advice_next(&from, &at, &a), "%s: %s", a.id, a.text);
}

Test(advice, both_forms)
{
    struct xs_emit e;
    struct xs_advice_from from;

    set("XSIGMA_GPU0_CACHE_MAX", "8M");
    struct xs_gpu_stats *s = device();
    s->hits = 500;
    s->misses_cold = 3;
    s->misses_evicted = 497;
    from = xs_advice_from(&r);
    xs_emit_open(&e, false, keep, NULL);
    xs_advice_text(&e, &from);
    xs_emit_close(&e);
    cr_assert_str_eq(
        kept, "ADVICE\n"
              "  GPU 0: 50% of the requests needed no call of the driver; most others had been\n"
              "    given back for want of room in the cache: XSIGMA_GPU0_CACHE_MAX=1G (now 8M)\n");
    kept_len = 0;
    xs_emit_open(&e, false, keep, NULL);
    xs_emit_object(&e, NULL);
    xs_advice_json(&e, &from);
    xs_emit_end(&e);
    xs_emit_close(&e);
    cr_assert(strstr(kept, "\"id\": \"gpu-hit-rate\",\n      \"device\": 0,\n      "
                           "\"metric\": \"hit_permille\",\n      \"value\": 500,\n      "
                           "\"threshold\": 900,\n"),
              "%s", kept);
    cr_assert(strstr(kept, "\"variable\": \"XSIGMA_GPU0_CACHE_MAX\",\n      \"current\": \"8M\",\n"
                           "      \"suggested\": \"1G\"\n"),
              "%s", kept);
}

Test(advice, of_a_program_with_its_own_malloc_only_of_devices)
{
    begin();
    r.core.bfc.growth_steps = 9;
    r.core.growth_ns = 200000000;
    r.core.bfc.reserved_peak_bytes = XS_MIB(300);
    SAYS("bfc-growth", "XSIGMA_BFC_INITIAL", "512M");
    r.passive = true;
    SILENT("bfc-growth");
}

/* --- devices --- */

static struct xs_gpu_stats *half_missed(void)
{
    struct xs_gpu_stats *s = device();

    s->allocations = 1000;
    s->hits = 500;
    s->misses_cold = s->misses_evicted = s->misses_stream = s->misses_size = 1;
    return s;
}

Test(advice_hit_rate, at_nine_of_ten_and_a_thousand)
{
    struct xs_gpu_stats *s = half_missed();

    s->misses_cold = 97;
    s->hits = 900;
    SILENT("gpu-hit-rate");
    s->misses_cold = 98;
    s->hits = 899;
    cr_assert(said("gpu-hit-rate"));
    s->hits = 0; /* too few to say anything */
    s->misses_cold = 996;
    SILENT("gpu-hit-rate");
    s->misses_cold = 997;
    cr_assert(said("gpu-hit-rate"));
}

Test(advice_hit_rate, by_cause)
{
    struct xs_gpu_stats *s = half_missed();

    s->misses_evicted = 497;
    s->reserved_bytes_peak = XS_MIB(1024);
    SAYS("gpu-hit-rate", "XSIGMA_GPU_CACHE_MAX", "1G"); /* it held as much at one time */
    cr_assert_str_eq(said("gpu-hit-rate")->current, "256M");
    s->reserved_bytes_peak = XS_MIB(600);
    SAYS("gpu-hit-rate", "XSIGMA_GPU_CACHE_MAX", "1G"); /* a power of two */
    s->reserved_bytes_peak = XS_MIB(3);
    SAYS("gpu-hit-rate", "XSIGMA_GPU_CACHE_MAX", "512M");
    s->cache_max_bytes = XS_TIB(16);
    SAYS("gpu-hit-rate", "XSIGMA_GPU_CACHE_MAX", "16T");
    s = half_missed();
    s->misses_stream = 497;
    cr_assert(strstr(said("gpu-hit-rate")->text, "work still running"));
    s = half_missed();
    s->misses_cold = 497;
    cr_assert(strstr(said("gpu-hit-rate")->text, "the first of their size"));
    SAYS("gpu-hit-rate", "XSIGMA_GPU_BACKEND", "bfc");
    set("XSIGMA_GPU_BACKEND", "bfc"); /* which knows no better */
    cr_assert_str_eq(said("gpu-hit-rate")->variable, "");
}

Test(advice_hit_rate, rounding_gets_coarser_and_then_bfc)
{
    static const char *const steps[] = {"none", "eighth", "quarter", "half", "pow2"};

    for (size_t i = 0; i + 1 < XS_COUNT_OF(steps); i++) {
        set("XSIGMA_GPU_ROUND", steps[i]);
        half_missed()->misses_size = 497;
        SAYS("gpu-hit-rate", "XSIGMA_GPU_ROUND", steps[i + 1]);
    }
    set("XSIGMA_GPU_ROUND", "pow2");
    SAYS("gpu-hit-rate", "XSIGMA_GPU_BACKEND", "bfc");
    set("XSIGMA_GPU_ROUTE", "<1K:direct,*:caching");
    SAYS("gpu-hit-rate", "XSIGMA_GPU_ROUTE", "*:bfc");
}

Test(advice_hit_rate, of_the_pool)
{
    set("XSIGMA_GPU_BACKEND", "pool");
    struct xs_gpu_stats *s = half_missed();
    s->misses_cold = 497;
    SAYS("gpu-hit-rate", "XSIGMA_GPU_POOL_LIMIT", "1G"); /* it held as much at one time */
    s->largest_request_bytes = XS_MIB(65);
    SAYS("gpu-hit-rate", "XSIGMA_GPU_POOL_MAX_BLOCK", "128M");
    s->largest_request_bytes = XS_MIB(257); /* no block size would do in that pool */
    SAYS("gpu-hit-rate", "XSIGMA_GPU_POOL_LIMIT", "1G");
}

Test(advice_gpu, out_of_memory)
{
    struct xs_gpu_stats *s = device();

    s->flushes = 3;
    s->cached_bytes_peak = s->reserved_bytes_peak - s->in_use_bytes_peak;
    SAYS("gpu-oom", "XSIGMA_GPU_CACHE_MAX", "32M"); /* half of what there was room for */
    cr_assert(strstr(said("gpu-oom")->text, "xsigma gpu clear"));
    s->cached_bytes_peak = 0;
    s->ooms = 5;
    SAYS("gpu-oom", "XSIGMA_GPU_BACKEND", "managed");
    cr_assert_eq(said("gpu-oom")->value, 5);
    s->flushes = s->ooms = 0;
    SILENT("gpu-oom");
}

Test(advice_gpu, out_of_memory_that_is_there_in_pieces)
{
    set("XSIGMA_GPU_BACKEND", "pool");
    struct xs_gpu_stats *s = device();
    s->ooms = 1;
    s->last_oom_bytes = XS_MIB(50);
    s->largest_free_bytes = XS_MIB(20); /* of 100 */
    SAYS("gpu-oom-cut-up", "XSIGMA_GPU_BACKEND", "bfc");
    SILENT("gpu-oom");
    s->last_oom_bytes = XS_MIB(101);
    SILENT("gpu-oom-cut-up");
    s->last_oom_bytes = XS_MIB(20);
    SILENT("gpu-oom-cut-up");
    s->last_oom_bytes = XS_MIB(50);
    set("XSIGMA_GPU_BACKEND", "bfc");
    SILENT("gpu-oom-cut-up");
}

Test(advice_gpu, fragmentation)
{
    set("XSIGMA_GPU_BACKEND", "pool");
    struct xs_gpu_stats *s = device();
    s->fragmentation = 0.6;
    SAYS("gpu-fragmentation", "XSIGMA_GPU_BACKEND", "bfc");
    s->fragmentation = 0.5;
    SILENT("gpu-fragmentation");
    s->fragmentation = 0.6;
    s->in_use_bytes = XS_MIB(90); /* of 101 */
    SILENT("gpu-fragmentation");
    s->in_use_bytes = XS_MIB(1);
    set("XSIGMA_GPU_BACKEND", "caching");
    SILENT("gpu-fragmentation");
}

Test(advice_gpu, more_reserved_than_used)
{
    struct xs_gpu_stats *s = device();

    s->in_use_bytes_peak = XS_MIB(100);
    s->cached_bytes_peak = XS_MIB(90);
    s->reserved_bytes_peak = XS_MIB(150);
    SILENT("gpu-over-reserved");
    s->reserved_bytes_peak = XS_MIB(151);
    s->requested_bytes = XS_MIB(204); /* of which hits are 999 in 1000 */
    SAYS("gpu-over-reserved", "XSIGMA_GPU_CACHE_MAX", "32M");
    s->requested_bytes = XS_MIB(205); /* the other 51 were handed out four times */
    SILENT("gpu-over-reserved");
    s->requested_bytes = XS_MIB(204);
    s->misses_evicted = 1000; /* it is too small already */
    SILENT("gpu-over-reserved");
}

Test(advice_gpu, small_and_frequent)
{
    set("XSIGMA_GPU_BACKEND", "direct");
    struct xs_gpu_stats *s = device();
    s->hits = 0;
    SAYS("gpu-small-frequent", "XSIGMA_GPU_BACKEND", "caching");
    s->requested_bytes = s->allocations * XS_MIB(1);
    SILENT("gpu-small-frequent");
    s->requested_bytes = s->allocations;
    r.wall_ns = 2000 * UINT64_C(1000000000); /* 100 a second */
    SILENT("gpu-small-frequent");
    r.wall_ns = 10000000000;
    set("XSIGMA_GPU_BACKEND", "caching");
    SILENT("gpu-small-frequent");
}

Test(advice_gpu, large_and_rare)
{
    struct xs_gpu_stats *s = device();

    s->allocations = 900;
    s->requested_bytes = 900 * XS_MIB(2);
    s->hits = 0;
    s->misses_size = 900;
    SAYS("gpu-large-rare", "XSIGMA_GPU_ROUTE", "<1M:caching,*:direct");
    r.wall_ns = 9000000000; /* 100 a second */
    SILENT("gpu-large-rare");
    r.wall_ns = 10000000000;
    s->hits = 1100; /* as many as missed */
    SILENT("gpu-large-rare");
    s->hits = 0;
    s->requested_bytes = 900 * XS_KIB(2);
    SILENT("gpu-large-rare");
}

Test(advice_gpu, slow_by_the_driver)
{
    struct xs_gpu_stats *s = device();

    s->misses_cold = 0;
    s->misses_evicted = 200;
    s->driver_ns = 200000 * 1001ULL; /* the clock is ours */
    SAYS("gpu-slow-allocation", "XSIGMA_GPU_CACHE_MAX", "1G");
    s->driver_ns = 200000 * 1000ULL;
    SILENT("gpu-slow-allocation");
    s->driver_ns = 200000 * 5000ULL;
    s->misses_cold = 300; /* no setting changes these */
    SILENT("gpu-slow-allocation");
}

/* --- the CPU allocator --- */

/* So many calls, so many thousandths of them slow. */
static struct xs_latency_calls timed(uint64_t samples, uint64_t slow_permille, uint64_t slow_ns)
{
    struct xs_latency_calls c = {.samples = samples, .calls = samples * 1000, .max_ns = slow_ns};

    c.bin[xs_latency_bin(20)] = samples * (1000 - slow_permille);
    c.bin[xs_latency_bin(slow_ns)] = samples * slow_permille;
    return c;
}

Test(advice_cpu, slow_by_the_clock)
{
    struct xs_latency_calls *c = &r.latency.of[XS_LATENCY_MALLOC];

    set("XSIGMA_CPU_BACKEND", "system");
    begin();
    serve_by(XS_OWNER_SYSTEM);
    *c = timed(100, 101, 1100);
    SAYS("slow-allocation", "XSIGMA_CPU_BACKEND", "bfc");
    *c = timed(100, 99, 1100); /* fewer than one in ten */
    SILENT("slow-allocation");
    *c = timed(100, 500, 800); /* not so slow */
    SILENT("slow-allocation");
    *c = timed(99, 500, 1100); /* a chance */
    SILENT("slow-allocation");
    *c = timed(100, 500, 1100);
    serve_by(XS_OWNER_BFC);
    set("XSIGMA_CPU_BACKEND", "bfc");
    r.counters[XS_OWNER_BFC].size_bin[4] = 90;
    SAYS("slow-allocation", "XSIGMA_CPU_BACKEND", "mimalloc");
    r.counters[XS_OWNER_BFC].size_bin[20] = 10;
    SAYS("slow-allocation", "XSIGMA_CPU_CACHE", "64M");
    set("XSIGMA_CPU_CACHE", "64M");
    SAYS("slow-allocation", "XSIGMA_CPU_BACKEND", "mimalloc");
    set("XSIGMA_CPU_ROUTE", "*:bfc");
    SAYS("slow-allocation", "XSIGMA_CPU_ROUTE", "*:mimalloc");
}

Test(advice_cpu, waits_for_locks)
{
    struct xs_latency_waits *w = &r.latency.waits[XS_LOCK_CPU];

    begin();
    r.threads_peak = 4;
    *w = (struct xs_latency_waits){.count = 100, .ns = 11 * 40000000ULL};
    SAYS("lock-waits", "XSIGMA_CPU_BACKEND", "tbb");
    w->ns = 10 * 40000000ULL;
    SILENT("lock-waits");
    w->ns = 11 * 40000000ULL;
    r.threads_peak = 5;
    SILENT("lock-waits");
    r.threads_peak = 4;
    w->count = 99;
    SILENT("lock-waits");
    w->count = 100;
    r.counters[XS_OWNER_BFC].size_bin[20] = 10;
    SAYS("lock-waits", "XSIGMA_CPU_CACHE", "64M");
    serve_by(XS_OWNER_MIMALLOC);
    SILENT("lock-waits");
    serve_by(XS_OWNER_BFC);
    r.latency.waits[XS_LOCK_GPU] = *w; /* a device's are no matter of this */
    *w = (struct xs_latency_waits){0};
    SILENT("lock-waits");
}

Test(advice_cpu, slow_by_the_kernel)
{
    set("XSIGMA_CPU_BACKEND", "system");
    begin();
    serve_by(XS_OWNER_SYSTEM);
    r.counters[XS_OWNER_SYSTEM].size_bin[4] = 100000;
    r.sys_ns = 100000 * 1001ULL;
    SAYS("kernel-time", "XSIGMA_CPU_BACKEND", "bfc");
    r.latency.of[XS_LATENCY_MALLOC] = timed(200, 800, 2000); /* it is seen in malloc itself */
    SILENT("kernel-time");
    r.latency.of[XS_LATENCY_MALLOC] = timed(200, 30, 50); /* it is not */
    SAYS("kernel-time", "XSIGMA_CPU_BACKEND", "bfc");
    r.latency = (struct xs_latency){0};
    r.sys_ns = 100000 * 1000ULL;
    SILENT("kernel-time");
    r.sys_ns = UINT64_MAX;
    SILENT("kernel-time");
    r.sys_ns = 100000 * 2000ULL;
    serve_by(XS_OWNER_BFC);
    memset(r.counters, 0, sizeof(r.counters));
    r.counters[XS_OWNER_BFC].size_bin[4] = 90001;
    r.counters[XS_OWNER_BFC].size_bin[22] = 9999;
    SILENT("kernel-time"); /* small blocks take nothing in the kernel */
    r.counters[XS_OWNER_BFC].size_bin[22] = 11000;
    r.sys_ns *= 2;
    SAYS("kernel-time", "XSIGMA_CPU_CACHE", "64M");
    setenv("XSIGMA_CPU_HUGE_PAGES", "off", 1);
    set("XSIGMA_CPU_CACHE", "64M");
    /* Only what this build has a variable for. */
    enum xs_knob knob;
    int n;
    if (xs_config_find("XSIGMA_CPU_HUGE_PAGES", 21, &knob, &n))
        SAYS("kernel-time", "XSIGMA_CPU_HUGE_PAGES", "thp");
    else
        SILENT("kernel-time");
}

Test(advice_cpu, growth)
{
    begin();
    r.core.bfc.growth_steps = 3;
    r.core.growth_ns = 200000000;
    r.core.bfc.reserved_peak_bytes = XS_MIB(14);
    SILENT("bfc-growth");
    r.core.bfc.growth_steps = 4;
    SAYS("bfc-growth", "XSIGMA_BFC_INITIAL", "16M");
    r.core.growth_ns = 100000000; /* a hundredth of the time */
    SILENT("bfc-growth");
    r.core.growth_ns = 999999; /* however short the run was */
    r.wall_ns = 2000000;
    SILENT("bfc-growth");
    r.core.growth_ns = 1000000;
    SAYS("bfc-growth", "XSIGMA_BFC_INITIAL", "16M");
    serve_by(XS_OWNER_MIMALLOC);
    SILENT("bfc-growth");
    serve_by(XS_OWNER_BFC);
    r.processes = 2; /* each has a core of its own */
    SILENT("bfc-growth");
    r.processes = 1;
    r.core.bfc.reserved_peak_bytes = XS_TIB(8) + 1; /* no first region may be as large */
    SILENT("bfc-growth");
    r.core.bfc.reserved_peak_bytes = XS_MIB(14);
    set("XSIGMA_BFC_INITIAL", "16M");
    SILENT("bfc-growth");
}

Test(advice_cpu, at_the_limit)
{
    begin();
    r.core.bfc.limit_bytes = XS_MIB(64);
    SILENT("bfc-limit");
    r.core.failures = 2;
    r.core.last_failure_bytes = XS_MIB(10);
    r.core.bfc.free_bytes = XS_MIB(5);
    SAYS("bfc-limit", "XSIGMA_BFC_LIMIT", "128M");
    set("XSIGMA_BFC_GC", "0");
    SAYS("bfc-limit", "XSIGMA_BFC_LIMIT", "128M");
    r.core.bfc.free_bytes = XS_MIB(12); /* it would do, in one piece */
    r.core.bfc.largest_free_bytes = XS_MIB(4);
    SAYS("bfc-limit", "XSIGMA_BFC_GC", "1");
    set("XSIGMA_BFC_COALESCE", "0");
    SAYS("bfc-limit", "XSIGMA_BFC_COALESCE", "1");
    r.core.bfc.limit_bytes = 0;
    SILENT("bfc-limit");
    r.core.bfc.limit_bytes = XS_MIB(64);
    r.core.bfc.largest_free_bytes = XS_MIB(10); /* it would have done */
    SAYS("bfc-limit", "XSIGMA_BFC_LIMIT", "128M");
    r.processes = 2;
    SILENT("bfc-limit");
}

Test(advice_cpu, fragmentation)
{
    set("XSIGMA_BFC_COALESCE", "0");
    begin();
    r.core.bfc.fragmentation = 0.7;
    r.core.bfc.free_bytes = XS_MIB(8);
    r.core.bfc.in_use_bytes = XS_MIB(10);
    SAYS("bfc-fragmentation", "XSIGMA_BFC_COALESCE", "1");
    r.core.bfc.fragmentation = 0.5;
    SILENT("bfc-fragmentation");
    r.core.bfc.fragmentation = 0.7;
    r.core.bfc.in_use_bytes = XS_MIB(16); /* twice what is free */
    SILENT("bfc-fragmentation");
    r.core.bfc.in_use_bytes = 0;
    r.core.bfc.free_bytes = XS_MIB(4) - 1;
    SILENT("bfc-fragmentation");
    r.core.bfc.free_bytes = XS_MIB(4);
    cr_assert(said("bfc-fragmentation"));
    set("XSIGMA_BFC_COALESCE", "1"); /* all is done that can be */
    SILENT("bfc-fragmentation");
}

Test(advice_cpu, more_reserved_than_used)
{
    set("XSIGMA_BFC_INITIAL", "1G");
    begin();
    r.core.bfc.in_use_peak_bytes = XS_MIB(100);
    r.core.bfc.reserved_peak_bytes = XS_MIB(1024);
    SAYS("bfc-over-reserved", "XSIGMA_BFC_INITIAL", "2M");
    set("XSIGMA_BFC_GROWTH", "0"); /* it has to hold all */
    SAYS("bfc-over-reserved", "XSIGMA_BFC_INITIAL", "128M");
    r.core.bfc.in_use_peak_bytes = XS_MIB(700);
    SILENT("bfc-over-reserved");
    set("XSIGMA_BFC_INITIAL", "128M");
    r.core.bfc.in_use_peak_bytes = XS_MIB(64);
    r.core.bfc.reserved_peak_bytes = XS_MIB(128);
    SAYS("bfc-over-reserved", "XSIGMA_BFC_INITIAL", "64M");
    r.core.bfc.in_use_peak_bytes++; /* less than 64 MiB more are not worth a word */
    SILENT("bfc-over-reserved");
    set("XSIGMA_BFC_INITIAL", "2M");
    r.core.bfc.in_use_peak_bytes = XS_MIB(1); /* what was prefaulted is no first region */
    SILENT("bfc-over-reserved");
}

Test(advice_cpu, small_and_frequent)
{
    set("XSIGMA_CPU_BACKEND", "system");
    begin();
    serve_by(XS_OWNER_SYSTEM);
    r.counters[XS_OWNER_SYSTEM].size_bin[5] = 600000;
    r.counters[XS_OWNER_SYSTEM].size_bin[9] = 400000;
    SAYS("small-frequent", "XSIGMA_CPU_BACKEND", "bfc");
    r.counters[XS_OWNER_SYSTEM].size_bin[9] = 600000;
    SILENT("small-frequent");
    r.counters[XS_OWNER_SYSTEM].size_bin[9] = 0; /* too few */
    SILENT("small-frequent");
    r.counters[XS_OWNER_SYSTEM].size_bin[5] = 1000000;
    cr_assert(said("small-frequent"));
    set("XSIGMA_CPU_ROUTE", "*:system");
    SAYS("small-frequent", "XSIGMA_CPU_ROUTE", "*:bfc");
    r.active[XS_OWNER_MIMALLOC] = true;
    SILENT("small-frequent");
}

Test(advice_cpu, what_only_rises)
{
    static struct xs_timeline t;

    begin();
    r.timeline = &t;
    t.count = 64;
    for (uint64_t i = 0; i < t.count; i++)
        t.point[i].in_use_bytes = XS_MIB(10) + i * XS_MIB(1) + (i % 2) * XS_MIB(3);
    r.memory[XS_OWNER_BFC].in_use_bytes = XS_MIB(1); /* given back in the end */
    SILENT("only-rises");
    r.memory[XS_OWNER_BFC].in_use_bytes = XS_MIB(76);
    cr_assert(said("only-rises"));
    cr_assert(strstr(said("only-rises")->text, "to 76.0 MiB"), "%s", said("only-rises")->text);
    for (uint64_t i = 0; i < t.count; i++)
        t.point[i].in_use_bytes = XS_MIB(1) + i * XS_KIB(256); /* to 17 MiB: what of it */
    r.memory[XS_OWNER_BFC].in_use_bytes = XS_MIB(17);
    SILENT("only-rises");
    for (uint64_t i = 0; i < t.count; i++)
        t.point[i].in_use_bytes = XS_MIB(10) + i * XS_MIB(1);
    r.memory[XS_OWNER_BFC].in_use_bytes = XS_MIB(73);
    cr_assert(said("only-rises"));
    for (uint64_t i = 40; i < 48; i++) /* for a while it rested, or nearly */
        t.point[i].in_use_bytes = XS_MIB(42) + XS_KIB(i);
    SILENT("only-rises");
    for (uint64_t i = 40; i < 48; i++)
        t.point[i].in_use_bytes = XS_MIB(43);
    cr_assert(said("only-rises"));
    t.count = 31; /* too few to tell */
    SILENT("only-rises");
    t.count = 64;
    for (uint64_t i = 40; i < 64; i++)
        t.point[i].in_use_bytes = XS_MIB(50); /* it has built up */
    SILENT("only-rises");
}
