/* Sites in the report, as text and as JSON. */
#include <string.h>

#include "report/cells.h"
#include "report/sites.h"

#define TOP_SHOWN    10
#define LIVE_SHOWN   5
#define FRAMES_SHOWN 4
#define PART_COLUMNS 40

/* ---- text --------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Where the name begins: demangled ones of templates have the type that they return before it. */
static const char *name_of(const char *function)
{
    const char *name = function;
    unsigned depth = 0;

    if (strncmp(function, "operator", 8) == 0)
        return function;
    for (const char *c = function; *c != '\0' && (*c != '(' || depth != 0); c++) {
        if (*c == '<')
            depth++;
        else if (*c == '>' && depth != 0)
            depth--;
        else if (*c == ' ' && depth == 0)
            name = c + 1;
    }
    return name;
}

/* Every stack has some of these, so they do not tell one from another: what allocates, languages'
 * libraries, and how threads and programs begin. */
static bool is_common(const char *function)
{
    static const char whole[][16] = {
        "malloc",        "calloc",         "realloc",  "reallocarray", "memalign",
        "aligned_alloc", "posix_memalign", "strdup",   "strndup",      "_start",
        "start_thread",  "clone",          "__clone3",
    };
    static const char begin[][16] = {
        "operator new", "std::",      "__gnu_cxx::",   "alloc::",    "core::",
        "__libc_start", "cudaMalloc", "cudaHostAlloc", "cuMemAlloc",
    };
    const char *name = function != NULL ? name_of(function) : "";

    for (size_t i = 0; i < XS_COUNT_OF(whole); i++)
        if (strcmp(name, whole[i]) == 0)
            return true;
    for (size_t i = 0; i < XS_COUNT_OF(begin); i++)
        if (strncmp(name, begin[i], strlen(begin[i])) == 0)
            return true;
    return false;
}

struct stack {
    struct xs_emit *e;
    bool is_told; /* by frames that are not common: the others are left out */
    unsigned shown;
    unsigned more;
};

static void look_at_frame(const struct xs_frame_line *f, void *arg)
{
    struct stack *s = arg;

    s->is_told |= !is_common(f->function);
}

static void put_frame(const struct xs_frame_line *f, void *arg)
{
    struct stack *s = arg;
    XS_BUF(item, 256);

    if (s->shown == FRAMES_SHOWN || (s->is_told && is_common(f->function))) {
        s->more++;
        return;
    }
    if (s->shown++ != 0)
        xs_put_str(&item, "< ");
    if (f->function != NULL)
        xs_emit_clean(s->e, &item, f->function, PART_COLUMNS);
    if (f->file != NULL) {
        xs_put_char(&item, ' ');
        xs_emit_clean(s->e, &item, base_name(f->file), PART_COLUMNS);
        if (f->line != 0)
            xs_fmt(&item, ":%u", f->line);
    } else if (f->function == NULL && f->module[0] != '\0') {
        xs_emit_clean(s->e, &item, base_name(f->module), PART_COLUMNS);
        xs_fmt(&item, "+0x%lx", (unsigned long)f->address);
    } else if (f->function == NULL) {
        xs_fmt(&item, "0x%lx", (unsigned long)f->address);
    }
    xs_emit_item(s->e, 1, item.at);
}

void xs_sites_put_stack(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i)
{
    struct stack s = {.e = e};
    XS_BUF(more, 32);

    v->frames(v, i, look_at_frame, &s);
    v->frames(v, i, put_frame, &s);
    if (s.shown == 0)
        xs_emit_item(e, 1, "callers unknown");
    if (s.more != 0) {
        xs_fmt(&more, "< %u more", s.more);
        xs_emit_item(e, 1, more.at);
    }
}

static void put_value(struct xs_emit *e, struct xs_buf *b, const struct xs_site_value *v)
{
    xs_put_bytes(b, v->bytes);
    if (v->bytes_error != 0 && v->bytes != 0)
        xs_fmt(b, " %s%.0f%%", e->utf8 ? "±" : "+-",
               (double)v->bytes_error * 100.0 / (double)v->bytes);
}

static void line(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i,
                 const struct xs_site_value *value, uint32_t kind, uint64_t all)
{
    const size_t indent = e->indent;
    XS_BUF(cell, 64);

    put_value(e, &cell, value);
    xs_emit_right(e, 18, cell.at);
    xs_buf_clear(&cell);
    if (all != 0) {
        xs_fmt(&cell, "%.0f%%", (double)value->bytes * 100.0 / (double)all);
        xs_emit_right(e, 23, cell.at);
    }
    xs_buf_clear(&cell);
    xs_site_put_kind(&cell, kind);
    xs_emit_left(e, 25, cell.at);
    xs_put_pad(&e->line, 30);
    e->indent = 28;
    xs_sites_put_stack(e, v, i);
    xs_emit_line(e);
    e->indent = indent;
}

static void top(struct xs_emit *e, const struct xs_sites_view *v)
{
    uint64_t all[XS_SITE_KINDS] = {0};
    struct xs_site_line s;
    XS_BUF(head, 160);

    for (uint32_t i = 0; i < v->count; i++) {
        v->site(v, i, &s);
        all[s.kind] += s.peak.bytes;
    }
    xs_put_str(&head, "TOP SITES at peak");
    if (v->mean_bytes > 1) {
        xs_put_str(&head, ", by samples of one block in ");
        xs_put_bytes(&head, v->mean_bytes);
        xs_fmt(&head, "; %s: 95%% interval", e->utf8 ? "±" : "+-");
    }
    xs_emit_left(e, 0, head.at);
    xs_emit_line(e);
    for (uint32_t i = 0; i < v->count && i < TOP_SHOWN; i++) {
        v->site(v, i, &s);
        if (s.peak.bytes != 0)
            line(e, v, i, &s.peak, s.kind, all[s.kind]);
    }
    if (v->dropped != 0) {
        xs_buf_clear(&head);
        xs_fmt(&head, "%lu samples could not be taken", (unsigned long)v->dropped);
        xs_emit_left(e, 2, head.at);
        xs_emit_line(e);
    }
}

/* The place of the largest live one below what was shown last; UINT32_MAX: none. */
static uint32_t next_live(const struct xs_sites_view *v, uint64_t below, uint32_t after)
{
    uint32_t best = UINT32_MAX;
    uint64_t most = 0;

    for (uint32_t i = 0; i < v->count; i++) {
        struct xs_site_line s;
        v->site(v, i, &s);
        if (s.suppressed != NULL || s.live.bytes == 0 || s.live.bytes <= most ||
            s.live.bytes > below || (s.live.bytes == below && i <= after && after != UINT32_MAX))
            continue;
        most = s.live.bytes;
        best = i;
    }
    return best;
}

static void live(struct xs_emit *e, const struct xs_sites_view *v, const char *what)
{
    uint64_t all = 0;
    uint64_t hidden = 0;
    uint64_t below = UINT64_MAX;
    uint32_t at = UINT32_MAX;
    struct xs_site_line s;
    XS_BUF(head, 160);

    for (uint32_t i = 0; i < v->count; i++) {
        v->site(v, i, &s);
        all += s.live.bytes;
        hidden += s.suppressed != NULL ? s.live.bytes : 0;
    }
    if (all == 0)
        return;
    xs_put_str(&head, what);
    xs_put_bytes(&head, all);
    if (hidden != 0) {
        xs_put_str(&head, ", of these ");
        xs_put_bytes(&head, hidden);
        xs_put_str(&head, " suppressed");
    }
    xs_emit_left(e, 0, head.at);
    xs_emit_line(e);
    for (unsigned n = 0; n < LIVE_SHOWN && (at = next_live(v, below, at)) != UINT32_MAX; n++) {
        v->site(v, at, &s);
        below = s.live.bytes;
        line(e, v, at, &s.live, s.kind, 0);
    }
}

void xs_sites_text(struct xs_emit *e, const struct xs_report *r)
{
    if (r->sites == NULL || r->sites->count == 0)
        return;
    top(e, r->sites);
    if (!r->sites->has_names) {
        const size_t indent = e->indent;
        xs_put_pad(&e->line, 2);
        e->indent = 4;
        xs_emit_words(e, "for names: XSIGMA_STATS_FILE=r.json, then 'xsigma report r.json'; or "
                         "'xsigma run --html r.html'");
        xs_emit_line(e);
        e->indent = indent;
    }
    live(e, r->sites, strcmp(r->how, "running") == 0 ? "LIVE NOW " : "LIVE AT EXIT ");
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_frame(const struct xs_frame_line *f, void *arg)
{
    struct xs_emit *e = arg;
    XS_BUF(address, 24);

    xs_fmt(&address, "0x%lx", (unsigned long)f->address);
    xs_emit_object(e, NULL);
    xs_emit_string(e, "address", address.at);
    xs_emit_string(e, "module", f->module);
    xs_emit_string(e, "function", f->function);
    xs_emit_string(e, "file", f->file);
    xs_emit_natural(e, "line", f->line != 0 ? (int64_t)f->line : -1);
    xs_emit_bool(e, "inlined", f->inlined);
    xs_emit_end(e);
}

void xs_sites_json_frames(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i)
{
    xs_emit_array(e, "frames", false);
    v->frames(v, i, json_frame, e);
    xs_emit_end(e);
}

#define JSON_VALUE(e, name, v)                                                                     \
    do {                                                                                           \
        xs_emit_u64(e, name "_bytes", (v)->bytes);                                                 \
        xs_emit_u64(e, name "_bytes_error", (v)->bytes_error);                                     \
        xs_emit_u64(e, name "_blocks", (v)->blocks);                                               \
    } while (0)

static void json_site(struct xs_emit *e, const struct xs_sites_view *v, uint32_t i)
{
    struct xs_site_line s;
    XS_BUF(kind, 16);

    v->site(v, i, &s);
    xs_site_put_kind(&kind, s.kind);
    xs_emit_object(e, NULL);
    xs_emit_string(e, "kind", kind.at);
    JSON_VALUE(e, "live", &s.live);
    JSON_VALUE(e, "peak", &s.peak);
    JSON_VALUE(e, "total", &s.total);
    xs_emit_string(e, "suppressed", s.suppressed);
    xs_sites_json_frames(e, v, i);
    xs_emit_end(e);
}

static const char *unwinder_name(enum xs_unwinder u)
{
    return u == XS_UNWIND_LIBUNWIND ? "libunwind" : u == XS_UNWIND_FP ? "fp" : "off";
}

void xs_sites_json(struct xs_emit *e, const struct xs_report *r)
{
    const struct xs_sites_view *v = r->sites;

    if (v == NULL) {
        xs_emit_string(e, "sampling", NULL);
    } else {
        xs_emit_object(e, "sampling");
        xs_emit_u64(e, "mean_bytes", v->mean_bytes);
        xs_emit_string(e, "unwinder", unwinder_name(v->unwinder));
        xs_emit_u64(e, "samples", v->samples);
        xs_emit_u64(e, "dropped", v->dropped);
        xs_emit_u64(e, "sites", v->count);
        xs_emit_end(e);
    }
    xs_emit_array(e, "sites", false);
    for (uint32_t i = 0; v != NULL && i < v->count; i++)
        json_site(e, v, i);
    xs_emit_end(e);
}
