/* The profile as pprof's profile.proto. What the format wants is in its description: varints,
 * fields by number, texts by their place in a table. The gzip around it stores, which needs no
 * zlib. */
#include <stdlib.h>
#include <string.h>

#include "tool/profile.h"

struct bytes {
    unsigned char *at;
    size_t used;
    size_t room;
    bool failed;
};

static void put(struct bytes *b, const void *from, size_t n)
{
    while (!b->failed && b->used + n > b->room) {
        size_t room = b->room == 0 ? 4096 : 2 * b->room;
        unsigned char *bigger = realloc(b->at, room);
        if (bigger == NULL) {
            b->failed = true;
            return;
        }
        b->at = bigger;
        b->room = room;
    }
    if (!b->failed && n != 0)
        memcpy(b->at + b->used, from, n);
    b->used += n;
}

static void put_varint(struct bytes *b, uint64_t v)
{
    unsigned char out[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        out[n++] = (unsigned char)(v | 0x80);
    out[n++] = (unsigned char)v;
    put(b, out, n);
}

static void put_number(struct bytes *b, unsigned field, uint64_t v)
{
    put_varint(b, field << 3);
    put_varint(b, v);
}

static void put_piece(struct bytes *b, unsigned field, const void *from, size_t n)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n);
    put(b, from, n);
}

/* Empties the inner message, which is used again. */
static void put_message(struct bytes *b, unsigned field, struct bytes *inner)
{
    b->failed |= inner->failed;
    if (!b->failed)
        put_piece(b, field, inner->at, inner->used);
    inner->used = 0;
}

/* ---- things with numbers ------------------------------------------------------------------- */

/* Texts, modules, functions and places: each distinct one gets the next number. */
struct numbers {
    struct bytes key; /* all keys, one behind the other */
    size_t *start;    /* of each */
    uint32_t *place;  /* by hash: number and 1; 0: none */
    size_t count;
    size_t room; /* of `place`, a power of two; of `start` half as much */
    bool failed;
};

static uint64_t hash_of(const unsigned char *key, size_t n)
{
    uint64_t h = 1469598103934665603u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ key[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static size_t end_of(const struct numbers *s, size_t i)
{
    return i + 1 < s->count ? s->start[i + 1] : s->key.used;
}

static bool is_key(const struct numbers *s, size_t i, const void *key, size_t n)
{
    return s->key.at != NULL && end_of(s, i) - s->start[i] == n &&
           memcmp(s->key.at + s->start[i], key, n) == 0;
}

static void grow(struct numbers *s)
{
    size_t room = s->room == 0 ? 256 : 2 * s->room;
    uint32_t *place = calloc(room, sizeof(*place));
    size_t *start = realloc(s->start, room / 2 * sizeof(*start));

    if (start != NULL)
        s->start = start;
    if (place == NULL || start == NULL) {
        s->failed = true;
        free(place);
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        size_t at = hash_of(s->key.at + s->start[i], end_of(s, i) - s->start[i]) & (room - 1);
        while (place[at] != 0)
            at = (at + 1) & (room - 1);
        place[at] = (uint32_t)i + 1;
    }
    free(s->place);
    s->place = place;
    s->room = room;
}

/* From 0 on; *is_new: the key had none. */
static uint64_t number_of(struct numbers *s, const void *key, size_t n, bool *is_new)
{
    *is_new = false;
    if (s->count >= s->room / 2)
        grow(s);
    if (s->failed)
        return 0;
    size_t at = hash_of(key, n) & (s->room - 1);
    for (; s->place[at] != 0; at = (at + 1) & (s->room - 1)) {
        size_t i = s->place[at] - 1;
        if (is_key(s, i, key, n))
            return i;
    }
    s->start[s->count] = s->key.used;
    put(&s->key, key, n);
    s->failed |= s->key.failed;
    s->place[at] = (uint32_t)s->count + 1;
    *is_new = true;
    return s->count++;
}

struct writer {
    struct bytes out;
    struct bytes inner;
    struct bytes line;
    struct numbers texts;
    struct numbers modules;
    struct numbers functions;
    struct numbers places;
};

static uint64_t text(struct writer *w, const char *t)
{
    bool is_new;

    return number_of(&w->texts, t != NULL ? t : "", t != NULL ? strlen(t) : 0, &is_new);
}

/* Modules get ranges of addresses that do not meet. */
#define MODULE_SPAN_LOG2 36

static uint64_t module_id(struct writer *w, const char *path)
{
    bool is_new;
    uint64_t id = number_of(&w->modules, path, strlen(path), &is_new) + 1;

    if (is_new) {
        put_number(&w->inner, 1, id);
        put_number(&w->inner, 2, id << MODULE_SPAN_LOG2);
        put_number(&w->inner, 3, (id + 1) << MODULE_SPAN_LOG2);
        put_number(&w->inner, 5, text(w, path));
        put_number(&w->inner, 7,
                   1); /* names of functions, files, lines and inlined ones are there */
        put_number(&w->inner, 8, 1);
        put_number(&w->inner, 9, 1);
        put_number(&w->inner, 10, 1);
        put_message(&w->out, 3, &w->inner);
    }
    return id;
}

static uint64_t function_id(struct writer *w, const struct xs_frame_line *f)
{
    XS_BUF(name, 320);
    const char *slash = strrchr(f->module, '/');
    bool is_new;

    if (f->function == NULL)
        xs_fmt(&name, "%s+0x%lx", slash != NULL ? slash + 1 : f->module, (unsigned long)f->address);
    uint64_t key[2] = {text(w, f->function != NULL ? f->function : name.at), text(w, f->file)};
    uint64_t id = number_of(&w->functions, key, sizeof(key), &is_new) + 1;
    if (is_new) {
        put_number(&w->inner, 1, id);
        put_number(&w->inner, 2, key[0]);
        put_number(&w->inner, 3, key[0]);
        put_number(&w->inner, 4, key[1]);
        put_message(&w->out, 5, &w->inner);
    }
    return id;
}

/* One address: the functions that it lies in, `n` of them. */
static uint64_t place_id(struct writer *w, const struct xs_frame_line *f, uint32_t n)
{
    uint64_t module = module_id(w, f->module);
    uint64_t key[2] = {module, f->address};
    bool is_new;
    uint64_t id = number_of(&w->places, key, sizeof(key), &is_new) + 1;

    if (!is_new)
        return id;
    struct bytes place = {0};
    put_number(&place, 1, id);
    put_number(&place, 2, module);
    put_number(&place, 3,
               (module << MODULE_SPAN_LOG2) + f->address % (UINT64_C(1) << MODULE_SPAN_LOG2));
    for (uint32_t i = 0; i < n; i++) {
        put_number(&w->line, 1, function_id(w, &f[i]));
        put_number(&w->line, 2, f[i].line);
        put_message(&place, 4, &w->line);
    }
    put_message(&w->out, 4, &place);
    free(place.at);
    return id;
}

static void put_type(struct writer *w, unsigned field, const char *type, const char *unit)
{
    put_number(&w->inner, 1, text(w, type));
    put_number(&w->inner, 2, text(w, unit));
    put_message(&w->out, field, &w->inner);
}

static void put_stack(struct writer *w, const struct xs_profile *p,
                      const struct xs_profile_stack *s)
{
    struct bytes sample = {0};
    struct bytes list = {0};
    XS_BUF(kind, 16);

    for (uint32_t i = 0; i < s->count;) {
        const struct xs_frame_line *f = &p->frame[s->first + i];
        uint32_t n = 1;
        while (f[n - 1].inlined && i + n < s->count)
            n++;
        put_varint(&list, place_id(w, f, n));
        i += n;
    }
    put_message(&sample, 1, &list);
    const struct xs_site_value *v[] = {&s->live, &s->peak, &s->total};
    for (size_t i = 0; i < XS_COUNT_OF(v); i++) {
        put_varint(&list, v[i]->blocks);
        put_varint(&list, v[i]->bytes);
    }
    put_message(&sample, 2, &list);
    xs_site_put_kind(&kind, s->kind);
    put_number(&list, 1, text(w, "memory"));
    put_number(&list, 2, text(w, kind.at));
    put_message(&sample, 3, &list);
    put_message(&w->out, 2, &sample);
    free(sample.at);
    free(list.at);
}

static void put_texts(struct writer *w)
{
    for (size_t i = 0; i < w->texts.count; i++)
        put_piece(&w->out, 6, w->texts.key.at + w->texts.start[i],
                  end_of(&w->texts, i) - w->texts.start[i]);
}

/* ---- gzip ---------------------------------------------------------------------------------- */

static uint32_t crc_of(const unsigned char *at, size_t n)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static void put_little(unsigned char *out, uint32_t v, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

static bool write_gzip(const struct bytes *b, FILE *to)
{
    static const unsigned char head[10] = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255};
    const size_t most = 65535;
    unsigned char tail[8];

    fwrite(head, 1, sizeof(head), to);
    size_t at = 0;
    do {
        size_t n = b->used - at < most ? b->used - at : most;
        unsigned char block[5] = {at + n == b->used};
        put_little(block + 1, (uint32_t)n, 2);
        put_little(block + 3, ~(uint32_t)n, 2);
        fwrite(block, 1, sizeof(block), to);
        fwrite(b->at + at, 1, n, to);
        at += n;
    } while (at < b->used);
    put_little(tail, crc_of(b->at, b->used), 4);
    put_little(tail + 4, (uint32_t)b->used, 4);
    fwrite(tail, 1, sizeof(tail), to);
    return ferror(to) == 0;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void free_numbers(struct numbers *s)
{
    free(s->key.at);
    free(s->start);
    free(s->place);
}

bool xs_profile_pprof(const struct xs_profile *p, FILE *to)
{
    static const char *const types[] = {"inuse", "peak", "alloc"};
    struct writer w = {0};
    XS_BUF(name, 32);

    (void)text(&w, ""); /* the format wants it first */
    for (size_t i = 0; i < XS_COUNT_OF(types); i++) {
        xs_buf_clear(&name);
        xs_fmt(&name, "%s_objects", types[i]);
        put_type(&w, 1, name.at, "count");
        xs_buf_clear(&name);
        xs_fmt(&name, "%s_space", types[i]);
        put_type(&w, 1, name.at, "bytes");
    }
    for (size_t i = 0; i < p->stacks; i++)
        put_stack(&w, p, &p->stack[i]);
    put_type(&w, 11, "space", "bytes");
    put_number(&w.out, 12, p->view.mean_bytes);
    put_number(&w.out, 14, text(&w, "peak_space"));
    put_texts(&w);
    bool done = !w.out.failed && !w.texts.failed && !w.modules.failed && !w.functions.failed &&
                !w.places.failed && write_gzip(&w.out, to);
    free(w.out.at);
    free(w.inner.at);
    free(w.line.at);
    free_numbers(&w.texts);
    free_numbers(&w.modules);
    free_numbers(&w.functions);
    free_numbers(&w.places);
    return done;
}
