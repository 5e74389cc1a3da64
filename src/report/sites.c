#include "report/sites.h"

#include <string.h>

#include "sample/modules.h"
#include "sample/table.h"
#include "sample/weight.h"

/* The normal distribution's interval is too narrow for few samples: it is made as wide as that of
 * so many more. */
#define NORMAL_95    1.959964
#define MORE_SAMPLES 1.5

static uint64_t whole(double v)
{
    return v > 0 && v < 9e18 ? (uint64_t)(v + 0.5) : 0;
}

struct xs_site_value xs_site_value_of(const struct xs_site_sum *s)
{
    struct xs_site_value v = {0};

    if (s->samples == 0)
        return v;
    double n = (double)s->samples;
    v.bytes = whole(s->bytes);
    v.bytes_error = whole(NORMAL_95 * xs_root_of(s->variance * (n + MORE_SAMPLES) / n));
    v.blocks = whole(s->blocks);
    return v;
}

void xs_site_put_kind(struct xs_buf *b, uint32_t kind)
{
    if (kind == 0)
        xs_put_str(b, "cpu");
    else if (kind == XS_SITE_PINNED)
        xs_put_str(b, "pinned");
    else
        xs_fmt(b, "gpu%u", kind - 1);
}

uint32_t xs_site_kind_of(const char *name)
{
    uint32_t device = 0;

    if (strcmp(name, "pinned") == 0)
        return XS_SITE_PINNED;
    if (strncmp(name, "gpu", 3) != 0)
        return 0;
    for (const char *c = name + 3; *c >= '0' && *c <= '9' && device < XS_SITE_PINNED; c++)
        device = device * 10 + (uint32_t)(*c - '0');
    return device < XS_SITE_PINNED - 1 ? device + 1 : XS_SITE_PINNED - 1;
}

/* ---- what is no finding ------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static bool begins(const char *path, const char *name)
{
    return strncmp(base_name(path), name, strlen(name)) == 0;
}

const char *xs_site_suppressed(const char *inner, const char *outer)
{
    static const struct {
        char rule[48];
        char inner[16];
        char outer[12];
    } rules[] = {
        {"libstdc++'s pool for exceptions", "libstdc++.so", "ld-linux"},
        {"the loader's records and thread-local storage", "ld-linux", ""},
        {"OpenMP's threads", "libgomp.so", ""},
        {"OpenMP's threads", "libomp.so", ""},
        {"the CUDA driver", "libcuda.so", ""},
    };

    for (size_t i = 0; i < XS_COUNT_OF(rules); i++)
        if (begins(inner, rules[i].inner) && begins(outer, rules[i].outer))
            return rules[i].rule;
    return NULL;
}

/* ---- the process's own -------------------------------------------------------------------- */

XS_UNLIKELY_DATA static struct {
    struct xs_sites_view view;
    uint16_t order[XS_SITES + 1]; /* places of sites, 1 more; 0: the rest */
} own;

static const struct xs_site *site_at(uint32_t number)
{
    const struct xs_sites *t = xs_table_sites();

    return number == 0 ? &t->rest : &t->site[number - 1];
}

static double peak_of(uint32_t number)
{
    return xs_site_peak_of(xs_table_sites(), site_at(number))->bytes;
}

static const char *module_of(uint64_t frame)
{
    const struct xs_site_modules *m = xs_modules_section();
    uint32_t number = XS_FRAME_MODULE(frame);

    return m != NULL && number != 0 && number <= XS_SITE_MODULES ? m->module[number - 1].path : "";
}

static const char *suppressed(const struct xs_site *s)
{
    uint32_t outer = 1;

    if (s->depth == 0)
        return NULL;
    while (outer < s->depth && XS_FRAME_MODULE(s->frame[outer]) == XS_FRAME_MODULE(s->frame[0]))
        outer++;
    return xs_site_suppressed(module_of(s->frame[0]),
                              outer < s->depth ? module_of(s->frame[outer]) : "");
}

static void site(const struct xs_sites_view *v, uint32_t i, struct xs_site_line *out)
{
    const struct xs_site *s = site_at(own.order[i]);

    (void)v;
    *out = (struct xs_site_line){
        .kind = s->kind,
        .suppressed = suppressed(s),
        .live = xs_site_value_of(&s->live),
        .peak = xs_site_value_of(xs_site_peak_of(xs_table_sites(), s)),
        .total = xs_site_value_of(&s->total),
    };
}

static void frames(const struct xs_sites_view *v, uint32_t i, xs_use_frame *use, void *arg)
{
    const struct xs_site *s = site_at(own.order[i]);

    (void)v;
    for (uint32_t k = 0; k < s->depth; k++) {
        struct xs_frame_line f = {.address = XS_FRAME_OFFSET(s->frame[k]),
                                  .module = module_of(s->frame[k])};
        use(&f, arg);
    }
}

/* The largest on top, of places in [at, count). */
static void sift(uint32_t at, uint32_t count)
{
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && peak_of(own.order[child + 1]) < peak_of(own.order[child]))
            child++;
        if (peak_of(own.order[at]) <= peak_of(own.order[child]))
            return;
        uint16_t swap = own.order[at];
        own.order[at] = own.order[child];
        own.order[child] = swap;
    }
}

/* In place, and without libc's qsort, which may allocate. */
static void sort(uint32_t count)
{
    for (uint32_t i = count / 2; i-- > 0;)
        sift(i, count);
    for (uint32_t last = count; last-- > 1;) {
        uint16_t swap = own.order[0];
        own.order[0] = own.order[last];
        own.order[last] = swap;
        sift(0, last);
    }
}

void xs_sites_lend(struct xs_report *r)
{
    const struct xs_sites *t = xs_table_sites();
    uint32_t count = 0;

    r->sites = NULL;
    if (t == NULL || t->magic != XS_SITES_MAGIC)
        return;
    for (uint32_t n = 0; n <= XS_SITES; n++)
        if (site_at(n)->total.samples != 0)
            own.order[count++] = (uint16_t)n;
    sort(count);
    own.view = (struct xs_sites_view){
        .mean_bytes = t->mean_bytes,
        .samples = t->samples,
        .dropped = t->dropped,
        .unwinder = (enum xs_unwinder)t->unwinder,
        .count = count,
        .site = site,
        .frames = frames,
    };
    r->sites = &own.view;
}
