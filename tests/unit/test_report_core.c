/* What the report says of the own core and of timed calls, for hand-made snapshots, in both forms.
 */
#include "policy/config.h"
#include "tests/support/kept_report.h"

static struct xs_report r;

static void begin(void)
{
    xs_config_load(false);
    r = (struct xs_report){.program = "pricer",
                           .pid = 7,
                           .host = "node07",
                           .rank = -1,
                           .how = "exit",
                           .wall_ns = 2000000000,
                           .counting = true,
                           .has_core = true};
    r.open[XS_OWNER_BFC] = r.active[XS_OWNER_BFC] = true;
    r.memory[XS_OWNER_BFC] = (struct xs_backend_memory){XS_MIB(3), XS_MIB(8), XS_MIB(9), "itself"};
}

TestSuite(report_core, .init = begin);

static void says(const char *text)
{
    cr_assert_not_null(strstr(text_of(&r, false), text), "no \"%s\" in\n%s", text, kept.text);
}

static void silent(const char *text)
{
    cr_assert_null(strstr(text_of(&r, false), text), "\"%s\" in\n%s", text, kept.text);
}

static void json_says(const char *text)
{
    cr_assert_not_null(strstr(json_of(&r), text), "no \"%s\" in\n%s", text, kept.text);
}

/* ---- timed calls ---- */

/* 10,000 calls, of which each percentile of a row is in a bin of its own. */
static void time_calls(enum xs_latency_kind kind, uint64_t ns)
{
    struct xs_latency_calls *c = &r.latency.of[kind];

    c->samples = 321;
    c->calls = 10000;
    c->bin[xs_latency_bin(ns)] = 9000;
    c->bin[xs_latency_bin(ns * 10)] = 950;
    c->bin[xs_latency_bin(ns * 100)] = 45;
    c->bin[xs_latency_bin(ns * 1000)] = 5;
    c->max_ns = ns * 1024;
}

Test(report_core, latency)
{
    time_calls(XS_LATENCY_MALLOC, 30);
    time_calls(XS_LATENCY_FREE, 20);
    r.latency.waits[XS_LOCK_CPU] = (struct xs_latency_waits){1, 5000, 4000};
    r.latency.waits[XS_LOCK_GPU] = (struct xs_latency_waits){12, 9000000, 70000};
    says("LATENCY            p50       p99     p99.9   longest   samples    of calls\n"
         "  malloc         31 ns    319 ns    3.1 us     30 us       321       10000\n");
    says("  locks of the allocator: 1 wait, 5.0 us in all, the longest 4.0 us\n"
         "  locks of the GPU cache: 12 waits, 9.0 ms in all, the longest 70 us\n");
    json_says("\"samples\": 321,\n      \"calls\": 10000,\n      \"p50_ns\": 31,\n"
              "      \"p99_ns\": 319,\n      \"p999_ns\": 3071,\n      \"max_ns\": 30720,\n"
              "      \"bins\": [");
    json_says(", 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]"); /* and none behind the last */
    json_says(
        "\"lock_waits\": {\n      \"count\": 1,\n      \"ns\": 5000,\n      \"max_ns\": 4000");
    json_says("\"gpu_lock_waits\": {\n      \"count\": 12,\n      \"ns\": 9000000,\n"
              "      \"max_ns\": 70000");
}

Test(report_core, latency_of_one_kind_or_none)
{
    silent("LATENCY");
    silent("wait");
    json_says("\"latency\": null,");
    r.latency.waits[XS_LOCK_GPU].count = 1;
    silent("LATENCY");
    json_says("\"gpu_lock_waits\": {\n      \"count\": 1,");
    json_says("\"malloc\": null,");
    r.latency.waits[XS_LOCK_GPU].count = 0;
    time_calls(XS_LATENCY_FREE, 20);
    says("LATENCY ");
    says("  free ");
    silent("  malloc ");
    json_says("\"malloc\": null,");
    json_says("\"free\": {");
}

/* ---- the core's line ---- */

Test(report_core, how_memory_is_cut_up)
{
    silent("bfc: at most");
    r.core.bfc = (struct xs_bfc_stats){.in_use_peak_bytes = XS_MIB(5),
                                       .regions = 1,
                                       .arenas = 1,
                                       .free_bytes = XS_MIB(4),
                                       .largest_free_bytes = XS_MIB(3),
                                       .fragmentation = 0.25};
    says("  bfc: at most 5.00 MiB in use; 1 region, 0 given back;\n"
         "  free 4.00 MiB, the largest piece 3.00 MiB (25% fragmented)\n");
    r.core.bfc.regions = 0; /* all has gone back */
    r.core.bfc.collected = 3;
    r.core.bfc.arenas = 2;
    says("in use; 0 regions in 2 arenas, 3 given back;");
}

Test(report_core, each_figure_is_told_as_what_it_is)
{
    r.core = (struct xs_heap_stats){.failures = 1,
                                    .largest_failure_bytes = 2,
                                    .last_failure_bytes = 3,
                                    .lent = 4,
                                    .heaps = 6,
                                    .slabs = 7,
                                    .growth_ns = 18,
                                    .bfc = {.limit_bytes = 5,
                                            .chunks_in_use = 8,
                                            .chunks_free = 9,
                                            .in_use_bytes = 10,
                                            .in_use_peak_bytes = 11,
                                            .largest_allocation_bytes = 12,
                                            .free_bytes = 13,
                                            .largest_free_bytes = 14,
                                            .purged_bytes = 15,
                                            .arenas = 16,
                                            .regions = 17,
                                            .growth_steps = 19,
                                            .collected = 20,
                                            .fragmentation = 0.25}};
    r.core_free[0] = 21;
    r.core_free[4] = 22;
    json_says(
        "\"failures\": 1,\n      \"largest_failure_bytes\": 2,\n"
        "      \"last_failure_bytes\": 3,\n      \"lent\": 4,\n      \"limit_bytes\": 5,\n"
        "      \"heaps\": 6,\n      \"slabs\": 7,\n      \"chunks_in_use\": 8,\n"
        "      \"chunks_free\": 9,\n      \"chunk_bytes\": 10,\n      \"chunk_peak_bytes\": 11,\n"
        "      \"largest_chunk_bytes\": 12,\n      \"free_bytes\": 13,\n"
        "      \"largest_free_bytes\": 14,\n      \"purged_bytes\": 15,\n      \"arenas\": 16,\n"
        "      \"regions\": 17,\n      \"growth_steps\": 19,\n      \"growth_ns\": 18,\n"
        "      \"collected_regions\": 20,\n      \"fragmentation_permille\": 250,\n"
        "      \"free_sizes\": [\n        {\n          \"below_bytes\": 8192,\n"
        "          \"free_bytes\": 21\n        },\n        {\n"
        "          \"below_bytes\": 131072,\n          \"free_bytes\": 22\n        }\n      ]\n");
}

/* ---- what failed ---- */

Test(report_core, failures)
{
    silent("FAILURES");
    r.core.lent = 1;
    says("  bfc: 1 request was served by the system's malloc, as the kernel refused memory\n");
    r.core.lent = 2;
    says("  bfc: 2 requests were served by the system's malloc, as the kernel refused memory\n");
    r.core.lent = 0;
    r.counters[XS_OWNER_BFC].failures = 2;
    r.core.failures = 2;
    r.core.largest_failure_bytes = XS_MIB(70);
    says("FAILURES\n  bfc: 2 allocations and 0 reallocations returned NULL; the largest of 70.0 "
         "MiB\n");
    silent("limit");
    r.core.bfc.limit_bytes = XS_MIB(64);
    says("70.0 MiB, limit 64.0 MiB");
}

/* ---- a process that was killed, and shares ---- */

Test(report_core, of_a_killed_process_the_time_is_a_bound)
{
    r.counters[XS_OWNER_BFC].size_bin[4] = 100;
    r.levels_ns = r.wall_ns - 1;
    says("  2.00 s");
    says("     50/s\n");
    r.levels_ns = r.wall_ns;
    says("  at least 2.00 s");
    silent("/s\n");
}

Test(report_core, a_share_that_is_not_all_is_never_100)
{
    uint64_t *bin = r.counters[XS_OWNER_BFC].size_bin;

    bin[4] = 999;
    says("  100%       999\n");
    bin[12] = 1;
    says("  >99%       999\n");
    says("   <1%         1\n");
    bin[4] = 99;
    says("   99%        99\n");
    says("    1%         1\n");
}
