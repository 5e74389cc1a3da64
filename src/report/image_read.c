/* A record becomes a snapshot again. Whatever is in the file, the snapshot is one that the
 * renderers can print. */
#include <errno.h>
#include <string.h>

#include "base/fmt.h"
#include "core/heap_counts.h"
#include "report/image.h"
#include "xsigma.h"

/* Devices that the settings know. */
#define DEVICES_MAX 64

/* Sums of this size are nobody's, and would overflow when added up. */
#define COUNT_MAX (UINT64_C(1) << 60)

/* The bytes may be none that a bool has. */
static void fix_bool(bool *b)
{
    unsigned char raw;

    memcpy(&raw, b, 1);
    *b = raw != 0;
}

static void fix_part(double *v)
{
    uint64_t bits;
    const uint64_t one = UINT64_C(0x3FF0000000000000);

    /* Of positive numbers the order is that of their bits; NaN and the negative ones come last. */
    memcpy(&bits, v, sizeof(bits));
    if (bits > one)
        *v = 0;
}

static void fix_count(uint64_t *v)
{
    if (*v > COUNT_MAX)
        *v = 0;
}

/* Text out of the record into a place of the same size, ended in any case. */
static const char *copy_text(char *out, const char *raw, size_t cap)
{
    memcpy(out, raw, cap);
    out[cap - 1] = '\0';
    return out;
}

static void fix_device(struct xs_report_gpu *g)
{
    struct xs_gpu_stats *s = &g->stats;

#define X(name, unit, help) fix_count(&s->name);
    XS_GPU_COUNTER_FIELDS(X)
    XS_GPU_LEVEL_FIELDS(X)
#undef X
#define X(name, unit, help) fix_count(&s->name##_peak);
    XS_GPU_LEVEL_FIELDS(X)
#undef X
    fix_part(&s->fragmentation);
    if (s->pinned_hits > s->pinned_allocations)
        s->pinned_hits = s->pinned_allocations;
}

static void fix(struct xs_recorded *out, const struct xs_image *image)
{
    struct xs_report *r = &out->report;
    unsigned kept = 0;

    r->program[sizeof(r->program) - 1] = '\0';
    r->host[sizeof(r->host) - 1] = '\0';
    fix_bool(&r->passive);
    fix_bool(&r->counting);
    fix_bool(&r->has_core);
    r->passive_owner =
        copy_text(out->passive_owner, image->passive_owner, sizeof(out->passive_owner));
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        fix_bool(&r->open[i]);
        fix_bool(&r->active[i]);
        r->memory[i].source = copy_text(out->source[i], image->source[i], sizeof(out->source[i]));
    }
    fix_part(&r->core.bfc.fragmentation);
    if (r->gpu_count > XS_REPORT_GPUS)
        r->gpu_count = XS_REPORT_GPUS;
    for (unsigned d = 0; d < r->gpu_count; d++) {
        struct xs_report_gpu g = r->gpu[d];
        if (g.device >= DEVICES_MAX)
            continue;
        fix_device(&g);
        g.stats.backend =
            copy_text(out->gpu_backend[kept], image->gpu_backend[d], sizeof(out->gpu_backend[d]));
        r->gpu[kept++] = g;
    }
    r->gpu_count = kept;
}

static void fix_latency(struct xs_latency *l)
{
    for (unsigned k = 0; k < XS_LATENCY_KINDS; k++) {
        struct xs_latency_calls *c = &l->of[k];
        fix_count(&c->samples);
        fix_count(&c->calls);
        fix_count(&c->max_ns);
        for (unsigned b = 0; b < XS_LATENCY_BINS; b++)
            fix_count(&c->bin[b]);
    }
    for (unsigned k = 0; k < XS_LOCK_KINDS; k++) {
        fix_count(&l->waits[k].count);
        fix_count(&l->waits[k].ns);
        fix_count(&l->waits[k].max_ns);
    }
}

/* ---- what counts by itself --------------------------------------------------------------- */

static void read_counters(const struct xs_record_bytes *record, struct xs_report *r)
{
    const struct xs_counted_switched *off;
    const struct xs_heap_counts *heaps;
    const struct xs_slot_block *slots;
    const struct xs_size_counts *sizes;
    const struct xs_latency_counts *latency;
    struct xs_counters core = {0};
    size_t n;

    memset(r->counters, 0, sizeof(r->counters));
    r->threads_now = r->threads_peak = r->threads_total = 0;
    for (unsigned i = 0;
         (slots = xs_record_find(record, XS_RECORD_SLOTS, i, sizeof(*slots), &n)) != NULL; i++)
        for (size_t k = 0; k < n; k++) {
            xs_slot_block_add(r->counters, &slots[k]);
            r->threads_now += slots[k].threads_now;
            r->threads_peak += slots[k].threads_peak;
            r->threads_total += slots[k].threads_total;
        }
    sizes = xs_record_find(record, XS_RECORD_SIZES, 0, sizeof(*sizes), &n);
    if (sizes != NULL)
        xs_size_counts_add(&r->counters[XS_OWNER_MIMALLOC], sizes);
    for (unsigned i = 0;
         (heaps = xs_record_find(record, XS_RECORD_HEAPS, i, sizeof(*heaps), &n)) != NULL; i++)
        for (size_t k = 0; k < n; k++)
            xs_heap_counts_add(&core, &heaps[k]);
    off = xs_record_find(record, XS_RECORD_SWITCH, 0, sizeof(*off), &n);
    if (off != NULL) {
        if (off->off != 0)
            core = off->then;
        xs_counters_sub(&core, &off->skipped);
        r->counting = off->off == 0;
    }
    xs_counters_add(&r->counters[XS_OWNER_BFC], &core);
    /* But what was waited for locks, whose unit only the process knew, is that of the last look. */
    latency = xs_record_find(record, XS_RECORD_LATENCY, 0, sizeof(*latency), &n);
    for (unsigned k = 0; latency != NULL && k < XS_LATENCY_KINDS; k++) {
        r->latency.of[k] = (struct xs_latency_calls){0};
        xs_latency_calls_add(&r->latency.of[k], &latency->of[k]);
    }
}

/* ---- the timeline ------------------------------------------------------------------------- */

static void read_timeline(const struct xs_record_bytes *record, struct xs_recorded *out)
{
    const struct xs_timeline_gpu *column;
    uint64_t kept = 0;
    size_t n;

    const struct xs_timeline *t = xs_record_find(record, XS_RECORD_TIMELINE, 0, sizeof(*t), &n);
    if (t == NULL)
        return;
    out->timeline.interval_ns = t->interval_ns;
    for (uint64_t i = 0; i < t->count && i < XS_TIMELINE_POINTS; i++) {
        /* Interrupted in the midst of thinning out. */
        if (i > 0 && t->point[i].t_ns <= t->point[i - 1].t_ns)
            break;
        out->timeline.point[kept++] = t->point[i];
    }
    out->timeline.count = kept;
    out->report.timeline = &out->timeline;
    for (unsigned d = 0; d < XS_REPORT_GPUS; d++) {
        column = xs_record_find(record, XS_RECORD_TIMELINE_GPU, d, sizeof(*column), &n);
        if (column == NULL || column->device >= DEVICES_MAX)
            break;
        out->timeline_gpu[d] = *column;
        out->report.timeline_gpu[d] = &out->timeline_gpu[d];
    }
}

/* ---- all of it ---------------------------------------------------------------------------- */

int xs_image_read(const struct xs_record_bytes *record, struct xs_recorded *out)
{
    size_t n;

    memset(out, 0, sizeof(*out));
    int rc = xs_record_check(record, &out->head);
    if (rc != 0)
        return rc;
    const struct xs_image *image = xs_record_find(record, XS_RECORD_PROCESS, 0, sizeof(*image), &n);
    if (image == NULL || image->struct_bytes == 0)
        return ENODATA;
    if (image->struct_bytes != sizeof(*image) ||
        strncmp(image->version, XSIGMA_VERSION, sizeof(image->version)) != 0)
        return ENOTSUP;
    struct xs_report *r = &out->report;
    memcpy(r, &image->report, sizeof(*r));
    r->timeline = NULL;
    r->sites = NULL;
    memset(r->timeline_gpu, 0, sizeof(r->timeline_gpu));
    r->processes = 0;
    out->was_torn = atomic_load_explicit(&image->changes, memory_order_relaxed) % 2 != 0;
    out->start_ns = image->start_ns;
    fix(out, image);
    (void)copy_text(out->how, image->how, sizeof(out->how));
    r->pid = out->head.pid;
    r->not_recorded = 0;
    if (out->head.ended != 0) {
        r->how = out->how;
        r->levels_ns = 0;
    } else {
        r->how = "ended without a report";
        r->status = -1;
        r->levels_ns = r->wall_ns;
        r->not_recorded = xs_record_left_out(record);
        read_counters(record, r);
    }
    fix_latency(&r->latency);
    read_timeline(record, out);
    out->config_bytes =
        image->config_bytes < XS_IMAGE_CONFIG_BYTES ? image->config_bytes : XS_IMAGE_CONFIG_BYTES;
    memcpy(out->config, image->config, out->config_bytes);
    return 0;
}

void xs_image_each_setting(const struct xs_recorded *r,
                           void (*use)(const char *name, const char *text, const char *source,
                                       void *arg),
                           void *arg)
{
    char line[XS_IMAGE_CONFIG_BYTES + 1];
    const char *at = r->config;
    const char *end = r->config + r->config_bytes;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL)
            break;
        memcpy(line, at, (size_t)(stop - at));
        line[stop - at] = '\0';
        at = stop + 1;
        char *tab = strrchr(line, '\t');
        char *equals = strchr(line, '=');
        if (line[0] == '!') {
            use(NULL, line + 1, NULL, arg);
        } else if (tab != NULL && equals != NULL && equals < tab) {
            *equals = *tab = '\0';
            use(line, equals + 1, tab + 1, arg);
        }
    }
}
