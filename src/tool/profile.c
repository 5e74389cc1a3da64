#include "tool/profile.h"

#include <stdlib.h>
#include <string.h>

#include "sample/weight.h"
#include "tool/symbols.h"

/* ---- building ----------------------------------------------------------------------------- */

/* Room for one more element. */
static bool more(void **at, size_t used, size_t *room, size_t each)
{
    if (used < *room)
        return true;
    size_t next = *room == 0 ? 256 : 2 * *room;
    void *bigger = realloc(*at, next * each);
    if (bigger == NULL)
        return false;
    *at = bigger;
    *room = next;
    return true;
}

struct adding {
    struct xs_profile *p;
    bool failed;
};

static void add_frame(const struct xs_frame_line *f, void *arg)
{
    struct adding *a = arg;
    struct xs_profile *p = a->p;

    if (!more((void **)&p->frame, p->frames, &p->frame_room, sizeof(*f))) {
        a->failed = true;
        return;
    }
    p->frame[p->frames++] = *f;
    p->stack[p->stacks].count++;
}

static bool begin_stack(struct xs_profile *p)
{
    if (!more((void **)&p->stack, p->stacks, &p->stack_room, sizeof(*p->stack)))
        return false;
    p->stack[p->stacks] = (struct xs_profile_stack){.first = (uint32_t)p->frames};
    return true;
}

static const char *suppressed(const struct xs_profile *p, const struct xs_profile_stack *s)
{
    const struct xs_frame_line *f = &p->frame[s->first];
    uint32_t outer = 1;

    if (s->count == 0)
        return NULL;
    while (outer < s->count && strcmp(f[outer].module, f[0].module) == 0)
        outer++;
    return xs_site_suppressed(f[0].module, outer < s->count ? f[outer].module : "");
}

/* ---- out of a record, which may hold anything ---------------------------------------------- */

static double sane(double v)
{
    return v > 0 && v < 1e30 ? v : 0; /* NaN is neither */
}

static struct xs_site_value value_of(const struct xs_site_sum *s)
{
    struct xs_site_sum clean = {sane(s->bytes), sane(s->variance), sane(s->blocks), s->samples};

    return xs_site_value_of(&clean);
}

static void frame_of_record(struct adding *a, const struct xs_site_modules *modules, uint64_t frame)
{
    uint32_t number = XS_FRAME_MODULE(frame);
    uint64_t address = XS_FRAME_OFFSET(frame);
    struct xs_frame_line unknown = {.address = address, .module = ""};

    if (modules == NULL || number == 0 || number > XS_SITE_MODULES) {
        add_frame(&unknown, a);
        return;
    }
    const struct xs_site_module *m = &modules->module[number - 1];
    size_t id = m->build_id_bytes <= sizeof(m->build_id) ? m->build_id_bytes : 0;
    char *path = strndup(m->path, sizeof(m->path));
    if (path == NULL)
        a->failed = true;
    else
        xs_symbols_at(path, m->build_id, id, address, add_frame, a);
}

static bool from_site(struct xs_profile *p, const struct xs_sites *t, const struct xs_site *s,
                      const struct xs_site_modules *modules)
{
    struct adding a = {.p = p};

    if (s->total.samples == 0 || s->kind >= XS_SITE_KINDS)
        return true;
    if (!begin_stack(p))
        return false;
    struct xs_profile_stack *k = &p->stack[p->stacks];
    k->kind = s->kind;
    k->live = value_of(&s->live);
    k->peak = value_of(xs_site_peak_of(t, s));
    k->total = value_of(&s->total);
    for (uint32_t i = 0; i < s->depth && i < XS_SITE_FRAMES; i++)
        frame_of_record(&a, modules, s->frame[i]);
    p->stack[p->stacks].suppressed = suppressed(p, &p->stack[p->stacks]);
    p->stacks++;
    return !a.failed;
}

static void add_header(struct xs_profile *p, uint64_t mean, uint64_t samples, uint64_t dropped,
                       enum xs_unwinder unwinder)
{
    p->view.samples += samples;
    p->view.dropped += dropped;
    if (mean > p->view.mean_bytes)
        p->view.mean_bytes = mean;
    p->view.unwinder = unwinder;
}

static bool from_record(struct xs_profile *p, const struct xs_record_bytes *r)
{
    size_t n;
    bool done = true;
    const struct xs_sites *t = xs_record_find(r, XS_RECORD_SITES, 0, sizeof(*t), &n);
    const struct xs_site_modules *m = xs_record_find(r, XS_RECORD_MODULES, 0, sizeof(*m), &n);

    if (t == NULL || t->magic != XS_SITES_MAGIC || t->capacity != XS_SITES)
        return true;
    add_header(p, t->mean_bytes, t->samples, t->dropped, (enum xs_unwinder)t->unwinder);
    done = from_site(p, t, &t->rest, m);
    for (uint32_t i = 0; i < XS_SITES && done; i++)
        done = t->site[i].hash == 0 || from_site(p, t, &t->site[i], m);
    return done;
}

/* ---- out of JSON --------------------------------------------------------------------------- */

static struct xs_site_value json_value(const struct xs_json_tree *t, const struct xs_json *site,
                                       const char *bytes, const char *error, const char *blocks)
{
    return (struct xs_site_value){
        .bytes = xs_json_u64(xs_json_get(t, site, bytes), 0),
        .bytes_error = xs_json_u64(xs_json_get(t, site, error), 0),
        .blocks = xs_json_u64(xs_json_get(t, site, blocks), 0),
    };
}

static void frame_of_json(struct adding *a, const struct xs_json_tree *t, const struct xs_json *v)
{
    struct xs_frame_line f = {
        .address = strtoull(xs_json_string(xs_json_get(t, v, "address"), "0"), NULL, 16),
        .module = xs_json_string(xs_json_get(t, v, "module"), ""),
        .function = xs_json_string(xs_json_get(t, v, "function"), NULL),
        .file = xs_json_string(xs_json_get(t, v, "file"), NULL),
        .line = (uint32_t)xs_json_u64(xs_json_get(t, v, "line"), 0),
        .inlined = xs_json_is_true(xs_json_get(t, v, "inlined")),
    };

    if (f.function == NULL && f.module[0] != '\0')
        xs_symbols_at(f.module, NULL, 0, f.address, add_frame, a);
    else
        add_frame(&f, a);
}

static bool from_json(struct xs_profile *p, const struct xs_json_tree *t)
{
    struct adding a = {.p = p};
    const struct xs_json *root = &t->node[0];
    const struct xs_json *head = xs_json_get(t, root, "sampling");
    const char *unwinder = xs_json_string(xs_json_get(t, head, "unwinder"), "off");

    if (head == NULL || head->type != XS_JSON_OBJECT)
        return true;
    add_header(p, xs_json_u64(xs_json_get(t, head, "mean_bytes"), 0),
               xs_json_u64(xs_json_get(t, head, "samples"), 0),
               xs_json_u64(xs_json_get(t, head, "dropped"), 0),
               strcmp(unwinder, "libunwind") == 0 ? XS_UNWIND_LIBUNWIND
               : strcmp(unwinder, "fp") == 0      ? XS_UNWIND_FP
                                                  : XS_UNWIND_OFF);
    for (const struct xs_json *v = xs_json_first(t, xs_json_get(t, root, "sites")); v != NULL;
         v = xs_json_next(t, v)) {
        if (!begin_stack(p))
            return false;
        struct xs_profile_stack *k = &p->stack[p->stacks];
        k->kind = xs_site_kind_of(xs_json_string(xs_json_get(t, v, "kind"), "cpu"));
        k->live = json_value(t, v, "live_bytes", "live_bytes_error", "live_blocks");
        k->peak = json_value(t, v, "peak_bytes", "peak_bytes_error", "peak_blocks");
        k->total = json_value(t, v, "total_bytes", "total_bytes_error", "total_blocks");
        for (const struct xs_json *f = xs_json_first(t, xs_json_get(t, v, "frames")); f != NULL;
             f = xs_json_next(t, f))
            frame_of_json(&a, t, f);
        p->stack[p->stacks].suppressed = suppressed(p, &p->stack[p->stacks]);
        p->stacks++;
    }
    return !a.failed;
}

bool xs_profile_add(struct xs_profile *p, const struct xs_input *i)
{
    return i->recorded != NULL ? from_record(p, &i->bytes) : from_json(p, &i->json);
}

/* ---- together ------------------------------------------------------------------------------ */

static const struct xs_profile *sorted; /* qsort hands nothing on */

static int compare_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

static int compare_stacks(const void *x, const void *y)
{
    const struct xs_profile_stack *a = x;
    const struct xs_profile_stack *b = y;

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct xs_frame_line *f = &sorted->frame[a->first + i];
        const struct xs_frame_line *g = &sorted->frame[b->first + i];
        if (f->address != g->address)
            return f->address < g->address ? -1 : 1;
        int c = compare_text(f->module, g->module);
        if (c == 0)
            c = compare_text(f->function, g->function);
        if (c != 0)
            return c;
    }
    return 0;
}

static int compare_peaks(const void *x, const void *y)
{
    const struct xs_profile_stack *a = x;
    const struct xs_profile_stack *b = y;

    if (a->peak.bytes != b->peak.bytes)
        return a->peak.bytes < b->peak.bytes ? 1 : -1;
    return a->total.bytes < b->total.bytes ? 1 : a->total.bytes > b->total.bytes ? -1 : 0;
}

void xs_site_value_add(struct xs_site_value *to, const struct xs_site_value *from)
{
    double a = (double)to->bytes_error;
    double b = (double)from->bytes_error;

    to->bytes += from->bytes;
    to->bytes_error = (uint64_t)(xs_root_of(a * a + b * b) + 0.5);
    to->blocks += from->blocks;
}

static void site(const struct xs_sites_view *v, uint32_t i, struct xs_site_line *out)
{
    const struct xs_profile *p = v->data;
    const struct xs_profile_stack *s = &p->stack[i];

    *out = (struct xs_site_line){s->kind, s->suppressed, s->live, s->peak, s->total};
}

static void frames(const struct xs_sites_view *v, uint32_t i, xs_use_frame *use, void *arg)
{
    const struct xs_profile *p = v->data;
    const struct xs_profile_stack *s = &p->stack[i];

    for (uint32_t k = 0; k < s->count; k++)
        use(&p->frame[s->first + k], arg);
}

void xs_profile_close(struct xs_profile *p)
{
    size_t kept = 0;

    sorted = p;
    if (p->stacks != 0)
        qsort(p->stack, p->stacks, sizeof(*p->stack), compare_stacks);
    for (size_t i = 0; i < p->stacks; i++) {
        if (kept != 0 && compare_stacks(&p->stack[kept - 1], &p->stack[i]) == 0) {
            xs_site_value_add(&p->stack[kept - 1].live, &p->stack[i].live);
            xs_site_value_add(&p->stack[kept - 1].peak, &p->stack[i].peak);
            xs_site_value_add(&p->stack[kept - 1].total, &p->stack[i].total);
        } else {
            p->stack[kept++] = p->stack[i];
        }
    }
    p->stacks = kept;
    if (kept != 0)
        qsort(p->stack, kept, sizeof(*p->stack), compare_peaks);
    p->view.count = (uint32_t)kept;
    p->view.has_names = true;
    p->view.site = site;
    p->view.frames = frames;
    p->view.data = p;
}

const struct xs_site_value *xs_profile_value(const struct xs_profile_stack *s,
                                             enum xs_profile_kind kind)
{
    return kind == XS_PROFILE_LIVE ? &s->live : kind == XS_PROFILE_TOTAL ? &s->total : &s->peak;
}

/* ---- collapsed stacks ---------------------------------------------------------------------- */

/* Semicolons and the last space of a line part what stands in it. */
static void put_name(const struct xs_frame_line *f, FILE *to)
{
    const char *slash = strrchr(f->module, '/');
    const char *name = f->function != NULL ? f->function : slash != NULL ? slash + 1 : f->module;

    for (; *name != '\0'; name++)
        putc(*name == ';' ? ':' : (unsigned char)*name < ' ' ? '?' : *name, to);
    if (f->function == NULL)
        fprintf(to, "+0x%lx", (unsigned long)f->address);
}

void xs_profile_collapsed(const struct xs_profile *p, enum xs_profile_kind kind, FILE *to)
{
    for (size_t i = 0; i < p->stacks; i++) {
        const struct xs_profile_stack *s = &p->stack[i];
        uint64_t bytes = xs_profile_value(s, kind)->bytes;
        if (bytes == 0)
            continue;
        XS_BUF(of, 16);
        xs_site_put_kind(&of, s->kind);
        fputs(of.at, to);
        for (uint32_t k = s->count; k-- > 0;) {
            putc(';', to);
            put_name(&p->frame[s->first + k], to);
        }
        fprintf(to, " %lu\n", (unsigned long)bytes);
    }
}
