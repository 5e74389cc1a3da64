/* The report's two forms for hand-made snapshots: golden text, and JSON that parses. */
#include <criterion/criterion.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "report/emit.h"
#include "tests/support/kept_report.h"
#include "xsigma.h"

/* --- a strict reader of JSON --- */

static const char *skip_value(const char *s, int depth);

static const char *skip_space(const char *s)
{
    return s + strspn(s, " \n\t\r");
}

static const char *skip_string(const char *s)
{
    if (*s++ != '"')
        return NULL;
    for (; *s != '"'; s++) {
        if ((unsigned char)*s < 0x20)
            return NULL; /* the final NUL too */
        if (*s != '\\')
            continue;
        s++;
        if (*s == 'u') {
            if (strspn(s + 1, "0123456789abcdefABCDEF") < 4)
                return NULL;
            s += 4;
        } else if (*s == '\0' || strchr("\"\\/bfnrt", *s) == NULL) {
            return NULL;
        }
    }
    return s + 1;
}

static const char *skip_members(const char *s, char closer, int depth)
{
    s = skip_space(s + 1);
    if (*s == closer)
        return s + 1;
    for (;;) {
        if (closer == '}') {
            s = skip_string(skip_space(s));
            if (s == NULL || *(s = skip_space(s)) != ':')
                return NULL;
            s++;
        }
        s = skip_value(s, depth);
        if (s == NULL)
            return NULL;
        s = skip_space(s);
        if (*s == closer)
            return s + 1;
        if (*s++ != ',')
            return NULL;
    }
}

static const char *skip_value(const char *s, int depth)
{
    static const char *const words[] = {"true", "false", "null"};

    s = skip_space(s);
    if (depth > 20)
        return NULL;
    if (*s == '{' || *s == '[')
        return skip_members(s, *s == '{' ? '}' : ']', depth + 1);
    if (*s == '"')
        return skip_string(s);
    if (*s >= '0' && *s <= '9') /* naturals only, by our own rule */
        return *s == '0' ? s + 1 : s + strspn(s, "0123456789");
    for (size_t i = 0; i < XS_COUNT_OF(words); i++)
        if (strncmp(s, words[i], strlen(words[i])) == 0)
            return s + strlen(words[i]);
    return NULL;
}

static bool is_json(const char *s)
{
    const char *end = skip_value(s, 0);

    return end != NULL && *skip_space(end) == '\0';
}

/* --- snapshots --- */

static void set(const char *name, const char *value)
{
    setenv(name, value, 1);
}

static void load(void)
{
    xs_config_load(false);
}

/* One back end: 100 calls of 16 B, 20 of 4 KiB, 2 of 2 MiB, 2 reallocations among them. */
static struct xs_report simple(void)
{
    struct xs_report r = {
        .program = "pricer",
        .pid = 4242,
        .host = "node07",
        .rank = 3,
        .how = "exit",
        .status = 0,
        .wall_ns = 2000000000,
        .user_ns = 1500000000,
        .sys_ns = 250000000,
        .rss_bytes = XS_MIB(10),
        .rss_peak_bytes = XS_MIB(12),
        .threads_total = 5,
        .threads_now = 1,
        .threads_peak = 4,
        .counting = true,
    };
    struct xs_counters *c = &r.counters[XS_OWNER_MIMALLOC];

    r.open[XS_OWNER_SYSTEM] = true;
    r.open[XS_OWNER_MIMALLOC] = true;
    r.active[XS_OWNER_MIMALLOC] = true;
    c->size_bin[4] = 100;
    c->size_bin[12] = 20;
    c->size_bin[21] = 2;
    c->reallocs = 2;
    c->frees = 110;
    c->requested_bytes = 100 * 16 + 20 * 4096 + 2 * XS_MIB(2);
    r.memory[XS_OWNER_SYSTEM] =
        (struct xs_backend_memory){XS_UNKNOWN, XS_UNKNOWN, XS_UNKNOWN, NULL};
    r.memory[XS_OWNER_MIMALLOC] =
        (struct xs_backend_memory){XS_UNKNOWN, XS_MIB(64), XS_MIB(128), "mapped pages"};
    return r;
}

Test(report_text, golden_of_one_back_end)
{
    struct xs_report r = simple();

    load();
    cr_assert_str_eq(text_of(&r, false),
                     "xsigma " XSIGMA_VERSION
                     "  pricer pid 4242  node07 rank 3  exit 0  2.00 s  cpu 1.75 s\n"
                     "CPU          requested     calls  reallocs     frees      live  calls/time\n"
                     "  mimalloc    4.08 MiB       120         2       110        10        60/s\n"
                     "MEMORY        reserved          peak      in use  counted by\n"
                     "  mimalloc    64.0 MiB       128 MiB           -  mapped pages\n"
                     "  RSS         10.0 MiB      12.0 MiB           -  the kernel\n"
                     "  threads that allocated: 5, at most 4 at one time, 1 now\n"
                     "SIZES of all requests, reallocations included\n"
                     "  <=16 B   #################################          82%       100\n"
                     "  <=4 KiB  #######                                    16%        20\n"
                     "  >1 MiB   #                                           2%         2\n");
}

Test(report_text, several_back_ends_have_a_total)
{
    struct xs_report r = simple();
    const char *text;

    load();
    r.active[XS_OWNER_SYSTEM] = true;
    r.counters[XS_OWNER_SYSTEM].size_bin[XS_SIZE_BIN_ZERO] = 7;
    r.counters[XS_OWNER_SYSTEM].frees = 5;
    r.counters[XS_OWNER_SYSTEM].moved_out = 1;
    r.counters[XS_OWNER_MIMALLOC].moved_in = 1;
    text = text_of(&r, false);
    cr_assert(strstr(text, "\n  system           0 B         7         0         5         1"),
              "%s", text);
    cr_assert(strstr(text, "\n  total       4.08 MiB       127         2       115        12"),
              "%s", text);
    cr_assert(strstr(text, "  <=16 B   #################################          83%       107"));
}

Test(report_text, fits_the_screen_and_the_character_set)
{
    struct xs_report r = simple();

    load();
    for (int owner = 0; owner < XS_OWNER_COUNT; owner++) {
        r.open[owner] = r.active[owner] = true;
        for (int b = 0; b < XS_SIZE_BINS; b++)
            r.counters[owner].size_bin[b] = 123456789012345 + (uint64_t)b;
        r.counters[owner].frees = UINT64_MAX / 5;
        r.counters[owner].requested_bytes = UINT64_MAX / 5;
        r.memory[owner] =
            (struct xs_backend_memory){UINT64_MAX / 5, UINT64_MAX / 5, UINT64_MAX / 5, "mallinfo2"};
    }
    r.counters[XS_OWNER_TBB].failures = 12;
    memset(r.program, 'p', sizeof(r.program) - 1);
    memset(r.host, 'h', sizeof(r.host) - 1);
    r.status = 255;
    r.wall_ns = UINT64_MAX / 2;
    for (int utf8 = 0; utf8 < 2; utf8++) {
        const char *text = text_of(&r, utf8);
        size_t lines = 0;
        size_t column = 0;

        for (const char *s = text; *s != '\0'; s++) {
            if (*s == '\n') {
                lines++;
                cr_assert(column <= 80, "%zu columns:\n%s", column, text);
                column = 0;
            } else {
                column += ((unsigned char)*s & 0xC0u) != 0x80u;
                cr_assert(utf8 || (unsigned char)*s < 0x7F, "not ASCII:\n%s", text);
            }
        }
        /* Every back end at once is a line or two more than a screen has. */
        cr_assert(lines <= 26, "%zu lines:\n%s", lines, text);
        cr_assert(strchr(text, '-') == NULL || strstr(text, "-1") == NULL, "%s", text);
    }
    cr_assert(strstr(kept.text, "≤16 B"));
    cr_assert(strstr(kept.text, "█"));
    cr_assert(strstr(kept.text, "FAILURES  tbb: 12 allocations and 0 reallocations returned NULL"));
    cr_assert(kept.largest_piece <= 4096);
}

Test(report_text, frees_ahead_of_allocations_are_no_negative_number)
{
    struct xs_report r = simple();

    load();
    r.counters[XS_OWNER_MIMALLOC].frees = 1000;
    cr_assert(strstr(text_of(&r, false), "      1000         0 "), "%s", kept.text);
    cr_assert(strstr(json_of(&r), "\"live_blocks\": 0"));
}

Test(report_text, live_is_unknown_after_a_pause)
{
    struct xs_report r = simple();

    load();
    r.not_counting_ns = 1500000000;
    cr_assert(strstr(text_of(&r, false), "live unknown: statistics were off 1.50 s\n"));
    cr_assert(strstr(json_of(&r), "\"live_blocks\": null"));
}

/* A clock that goes by steps of 10 ns, give or take one: half of the calls took less than one step.
 */
Test(report_text, shorter_than_a_step_of_the_clock)
{
    struct xs_report r = simple();
    struct xs_latency_calls *c = &r.latency.of[XS_LATENCY_MALLOC];

    *c = (struct xs_latency_calls){.samples = 10, .calls = 1000, .max_ns = 31};
    c->bin[xs_latency_bin(0)] = 400;
    c->bin[xs_latency_bin(1)] = 200;
    c->bin[xs_latency_bin(10)] = 300;
    c->bin[xs_latency_bin(30)] = 100;
    r.latency.of[XS_LATENCY_FREE] = (struct xs_latency_calls){.samples = 1, .calls = 9};
    r.latency.of[XS_LATENCY_FREE].bin[xs_latency_bin(0)] = 9;
    const char *text = text_of(&r, true);
    cr_assert_not_null(strstr(text, "  malloc        <10 ns     31 ns     31 ns     31 ns"), "%s",
                       text);
    /* The clock is the same for both. */
    cr_assert_not_null(strstr(text, "  free          <10 ns    <10 ns    <10 ns    <10 ns"), "%s",
                       text);
}

Test(report_text, passive)
{
    struct xs_report r = simple();

    load();
    r.passive = true;
    r.passive_owner = "/opt/bin/\033[31mbrowser";
    cr_assert(strstr(text_of(&r, true), "this program brings its own malloc "
                                        "(/opt/bin/?[31mbrowser); nothing was routed\n"));
    cr_assert(!strstr(kept.text, "CPU"));
    cr_assert(!strstr(kept.text, "mimalloc"));
    cr_assert(strstr(kept.text, "RSS"));
}

Test(report_text, hostile_names)
{
    struct xs_report r = simple();

    load();
    strcpy(r.program, "a\033]0;x\007\n\xff\xc2\x9b\xe2\x80\xae\xc3\xa9");
    cr_assert(strstr(text_of(&r, true), "  a?]0;x????????\xc3\xa9 pid"), "%s", kept.text);
    cr_assert(strstr(text_of(&r, false), "  a?]0;x?????????? pid"), "%s", kept.text);
}

Test(report_text, settings_that_differ)
{
    struct xs_report r = simple();

    set("XSIGMA_CPU_BACKEND", "mimalloc");
    set("XSIGMA_CPU_TBB_HUGE_PAGES", "0");
    load();
    text_of(&r, false);
    cr_assert(strstr(kept.text, "\nCONFIG  XSIGMA_CPU_BACKEND=mimalloc (env)\n"), "%s", kept.text);
    cr_assert(!strstr(kept.text, "TBB_HUGE"), "equal to the default:\n%s", kept.text);
}

Test(report_text, warnings_are_wrapped_and_bounded)
{
    struct xs_report r = simple();

    load();
    for (int i = 0; i < 8; i++)
        xs_config_warn("warning %d with a lot of words in it, more than one line of eighty columns "
                       "could ever hold",
                       i);
    text_of(&r, false);
    cr_assert(strstr(kept.text, "\nWARNINGS\n  warning 0 with a lot"), "%s", kept.text);
    cr_assert(strstr(kept.text, "\n    could ever hold\n"), "%s", kept.text);
    cr_assert(strstr(kept.text, "\n  and 3 more\n"), "%s", kept.text);
    cr_assert(strstr(json_of(&r), "warning 7"));
}

Test(report_json, parses_and_has_every_field)
{
    struct xs_report r = simple();
    const char *text;

    set("XSIGMA_CPU_BACKEND", "mimalloc");
    load();
    text = json_of(&r);
    cr_assert(is_json(text), "%s", text);
    cr_assert(strstr(text, "{\n  \"schema\": \"xsigma.stats/1\",\n"));
    cr_assert(strstr(text, "\"rank\": 3,"));
    cr_assert(strstr(text, "\"status\": 0,"));
    cr_assert(strstr(text, "\"wall_ns\": 2000000000,"));
    cr_assert(strstr(text, "\"allocations\": 120,"));
    cr_assert(strstr(text, "\"live_blocks\": 10,"));
    cr_assert(strstr(text, "\"in_use_bytes\": null,"));
    cr_assert(strstr(text, "\"reserved_peak_bytes\": 134217728,"));
    cr_assert(strstr(text, "\"size_bins\": [0, 0, 0, 0, 100, 0, "));
    cr_assert(strstr(text, "\"max_bytes\": null,\n      \"calls\": 2\n"));
#define X(name, unit, help) cr_assert(strstr(text, "\"" #name "\": "), #name);
    XS_COUNTER_FIELDS(X)
#undef X
    for (size_t i = 0; i < XS_KNOB_COUNT; i++) {
        char entry[128];
        snprintf(entry, sizeof(entry), "\"name\": \"%s\"", xs_knob_name(&xs_knob_rows[i]));
        cr_assert(strstr(text, entry), "%s", entry);
    }
    cr_assert(kept.largest_piece <= 4096);
}

Test(report_json, unknown_values_are_null)
{
    struct xs_report r = simple();

    load();
    r.rank = -1;
    r.status = -1;
    cr_assert(is_json(json_of(&r)));
    cr_assert(strstr(kept.text, "\"rank\": null,"));
    cr_assert(strstr(kept.text, "\"status\": null,"));
    cr_assert(strstr(kept.text, "\"preset\": null,"));
}

Test(report_json, every_byte_in_a_name)
{
    struct xs_report r = simple();

    load();
    for (int start = 1; start < 256; start += 60) {
        for (int i = 0; i < 63; i++)
            r.program[i] = (char)(start + i < 256 ? start + i : 'x');
        cr_assert(is_json(json_of(&r)), "%s", kept.text);
    }
}

Test(report_json, long_strings_are_whole_and_no_character_is_cut)
{
    char want[2048] = "";
    char value[1024] = "";
    struct xs_report r = simple();

    load();
    r.passive = true;
    r.passive_owner = value;
    for (int shift = 0; shift < 4; shift++) {
        memset(value, 'x', (size_t)shift);
        value[shift] = '\0';
        for (int i = 0; i < 200; i++)
            strcat(value, "\xe2\x82\xac");
        snprintf(want, sizeof(want), "\"passive_owner\": \"%s\"", value);
        cr_assert(is_json(json_of(&r)));
        cr_assert(strstr(kept.text, want), "shift %d", shift);
    }
    memset(value, '\x80', 300); /* continuation bytes only */
    value[300] = '\0';
    cr_assert(is_json(json_of(&r)));
}

/* --- devices --- */

static struct xs_report_gpu device(unsigned number)
{
    return (struct xs_report_gpu){
        .device = number,
        .stats =
            {
                .allocations = 200000,
                .frees = 199990,
                .hits = 199800,
                .misses_cold = 150,
                .misses_evicted = 40,
                .misses_stream = 10,
                .evictions = 33,
                .driver_mallocs = 200,
                .driver_frees = 33,
                .driver_ns = 21500000,
                .events = 12,
                .in_use_bytes = XS_MIB(1),
                .in_use_bytes_peak = XS_MIB(900),
                .cached_bytes = XS_MIB(250),
                .cached_bytes_peak = XS_MIB(256),
                .reserved_bytes = XS_MIB(251),
                .reserved_bytes_peak = XS_MIB(1024),
                .largest_request_bytes = XS_MIB(64),
                .cache_max_bytes = XS_MIB(256),
                .backend = "caching",
            },
    };
}

static struct xs_report with_device(void)
{
    struct xs_report r = simple();

    r.gpu[0] = device(0);
    r.gpu_count = 1;
    return r;
}

Test(report_gpu, golden)
{
    struct xs_report r = with_device();

    load();
    text_of(&r, false);
    cr_assert(
        strstr(kept.text,
               "  threads that allocated: 5, at most 4 at one time, 1 now\n"
               "GPU           reserved          peak      in use    cached     calls      hits\n"
               "  0            251 MiB      1.00 GiB    1.00 MiB   250 MiB     200 k     99.9%\n"
               "    by caching, at most 900 MiB in use, 256 MiB cached (limit 256 MiB),\n"
               "      largest request 64.0 MiB\n"
               "    misses: 150 cold, 40 evicted, 10 still at work\n"
               "    driver: 200 allocations, 33 frees, 21.5 ms, 33 evictions, 12 events\n"
               "SIZES "),
        "%s", kept.text);
    cr_assert(!strstr(kept.text, "ADVICE"));
    cr_assert(!strstr(kept.text, "failed:"));
}

Test(report_gpu, nothing_of_devices_without_any)
{
    struct xs_report r = simple();

    load();
    cr_assert(!strstr(text_of(&r, false), "GPU"));
    cr_assert(!strstr(kept.text, "ADVICE"));
    cr_assert(strstr(json_of(&r), "\"gpu\": [],\n  \"timeline\": null,\n  \"sampling\": null,\n"
                                  "  \"sites\": [],\n  \"advice\": []\n"),
              "%s", kept.text);
}

Test(report_gpu, every_kind_of_memory)
{
    struct xs_report r = with_device();
    struct xs_gpu_stats *s = &r.gpu[0].stats;

    load();
    s->pinned_allocations = 1000;
    s->pinned_hits = 999;
    s->pinned_in_use_bytes = XS_MIB(3);
    s->pinned_in_use_bytes_peak = XS_MIB(4);
    s->pinned_cached_bytes_peak = XS_MIB(5);
    s->managed_allocations = 7;
    s->async_allocations = 12;
    s->async_bytes = XS_GIB(2);
    s->vmm_allocations = 3;
    s->vmm_bytes = XS_MIB(6);
    s->async_in_use_bytes = XS_MIB(1);
    s->async_in_use_bytes_peak = XS_MIB(2);
    s->vmm_in_use_bytes_peak = XS_MIB(4);
    s->array_allocations = 4;
    s->graph_allocations = 2;
    s->graph_bytes = XS_MIB(8);
    s->failures = 2;
    s->ooms = 1;
    s->last_oom_bytes = XS_GIB(3);
    s->bad_frees = 5;
    s->slabs = 3;
    s->slabs_given_back = 1;
    s->largest_free_bytes = XS_MIB(9);
    s->fragmentation = 0.12;
    text_of(&r, false);
    cr_assert(strstr(kept.text, "    pinned: 1000 calls, hits 99.9%, in use 3.00 MiB (at most 4.00 "
                                "MiB),\n      cached 0 B (at most 5.00 MiB)\n"),
              "%s", kept.text);
    cr_assert(strstr(kept.text, "    managed: 7 calls, in use 0 B (at most 0 B)\n"), "%s",
              kept.text);
    cr_assert(strstr(kept.text, "    stream-ordered, passed through: 12 calls of 2.00 GiB,\n"
                                "      in use 1.00 MiB (at most 2.00 MiB)\n"),
              "%s", kept.text);
    cr_assert(strstr(kept.text, "    cuMemCreate, passed through: 3 calls of 6.00 MiB,\n"
                                "      in use 0 B (at most 4.00 MiB)\n"),
              "%s", kept.text);
    cr_assert(strstr(kept.text, "    passed through: 4 arrays, 2 nodes of graphs of 8.00 MiB\n"),
              "%s", kept.text);
    cr_assert(strstr(kept.text,
                     "    failed: 2 allocations, 1 of these for want of memory (the last "
                     "of 3.00 GiB),\n      5 frees of what was no block\n"),
              "%s", kept.text);
    cr_assert(strstr(kept.text, "    slabs: 3 held, 1 given back,\n"
                                "      the largest free piece 9.00 MiB (12% fragmented)\n"),
              "%s", kept.text);
}

Test(report_gpu, one_miss_in_a_million_is_not_all)
{
    struct xs_report r = with_device();

    load();
    r.gpu[0].stats.misses_cold = 1;
    r.gpu[0].stats.misses_evicted = r.gpu[0].stats.misses_stream = 0;
    r.gpu[0].stats.hits = 999999;
    cr_assert(strstr(text_of(&r, false), " 99.9%\n"), "%s", kept.text);
    r.gpu[0].stats.misses_cold = 0;
    cr_assert(strstr(text_of(&r, false), " 100.0%\n"), "%s", kept.text);
    r.gpu[0].stats.hits = 0; /* the driver was asked for all of it */
    cr_assert(strstr(text_of(&r, false), "         -\n"), "%s", kept.text);
    cr_assert(strstr(json_of(&r), "\"hit_permille\": null"));
}

Test(report_gpu, fits_the_screen)
{
    struct xs_report r = simple();
    size_t column = 0;

    load();
    for (r.gpu_count = 0; r.gpu_count < XS_REPORT_GPUS; r.gpu_count++) {
        uint64_t *word = (uint64_t *)&r.gpu[r.gpu_count].stats;
        for (size_t i = 0; i < offsetof(struct xs_gpu_stats, fragmentation) / sizeof(*word); i++)
            word[i] = UINT64_MAX / 5;
        r.gpu[r.gpu_count].device = 48 + r.gpu_count;
        r.gpu[r.gpu_count].stats.backend = "caching,pool,bfc,direct,managed,caching,pool,direct";
    }
    r.gpus_left_out = 7;
    text_of(&r, false);
    for (const char *s = kept.text; *s != '\0'; s++) {
        column = *s == '\n' ? 0 : column + 1;
        cr_assert(column <= 80, "%zu columns:\n%s", column, kept.text);
    }
    cr_assert(strstr(kept.text, "  and 7 devices more\n"));
    cr_assert(is_json(json_of(&r)));
}

Test(report_gpu, json_has_every_field_of_the_lists)
{
    struct xs_report r = with_device();
    char entry[128];
    uint64_t n = 1001;

    load();
    r.gpu[1] = device(5);
    r.gpu_count = 2;
    struct xs_gpu_stats *s = &r.gpu[0].stats;
#define X(name, unit, help) s->name = n++;
    XS_GPU_COUNTER_FIELDS(X)
#undef X
#define X(name, unit, help)                                                                        \
    s->name = n++;                                                                                 \
    s->name##_peak = n++;
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    cr_assert(is_json(json_of(&r)), "%s", kept.text);
    cr_assert(strstr(kept.text, "\"device\": 5,\n      \"backend\": \"caching\",\n"));
    n = 1001;
#define X(name, unit, help)                                                                        \
    snprintf(entry, sizeof(entry), "\n      \"" #name "\": %lu,", (unsigned long)n++);             \
    cr_assert(strstr(kept.text, entry), "%s", entry);
    XS_GPU_COUNTER_FIELDS(X)
#undef X
#define X(name, unit, help)                                                                        \
    snprintf(entry, sizeof(entry), "\"" #name "\": %lu,", (unsigned long)n++);                     \
    cr_assert(strstr(kept.text, entry), "%s", entry);                                              \
    snprintf(entry, sizeof(entry), "\"" #name "_peak\": %lu,", (unsigned long)n++);                \
    cr_assert(strstr(kept.text, entry), "%s", entry);
    XS_GPU_LEVEL_FIELDS(X)
#undef X
}
