#include "sample/table.h"

#include <string.h>

#include "sample/weight.h"
#include "sys/mem.h"
#include "sys/record.h"

#define BLOCKS_LEAST ((size_t)4096)

#define MOST_WHOLE   (XS_SITES / 4 * 3)
#define MOST_SITES   (XS_SITES / 16 * 15)
#define CUT_DEPTH    3u

XS_UNLIKELY_DATA uint8_t xs_table_filter[1 << XS_FILTER_BITS];

static struct {
    struct xs_sites *sites;
    uint64_t mean_bytes;
    enum xs_unwinder unwinder;
    struct xs_sampled *block; /* address 0: none */
    size_t capacity;          /* a power of two */
    size_t used;
} own;

static void begin(void)
{
    own.sites->capacity = XS_SITES;
    own.sites->mean_bytes = own.mean_bytes;
    own.sites->unwinder = own.unwinder;
    own.sites->magic = XS_SITES_MAGIC;
}

bool xs_table_open(uint64_t mean_bytes, enum xs_unwinder unwinder)
{
    if (own.sites == NULL)
        own.sites = xs_record_section(XS_RECORD_SITES, sizeof(*own.sites));
    if (own.sites == NULL)
        return false;
    own.mean_bytes = mean_bytes;
    own.unwinder = unwinder;
    begin();
    return true;
}

struct xs_sites *xs_table_sites(void)
{
    return own.sites;
}

/* ---- sites ------------------------------------------------------------------------------ */

static uint64_t hash_of(uint32_t kind, const uint64_t *frame, uint32_t depth)
{
    uint64_t h = kind + 1;

    for (uint32_t i = 0; i < depth; i++) {
        h = (h ^ frame[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h == 0 ? 1 : h;
}

static struct xs_site *site_at(uint32_t number)
{
    return number == 0 ? &own.sites->rest : &own.sites->site[number - 1];
}

/* 0: there is none, and `most` are there already. Nearly full, a stack that is not there would be
 * looked for everywhere. */
static uint32_t find_stack(uint32_t kind, const uint64_t *frame, uint32_t depth, uint32_t most)
{
    struct xs_sites *t = own.sites;
    uint64_t hash = hash_of(kind, frame, depth);
    size_t at = (size_t)(hash >> 16) % XS_SITES;

    for (size_t i = 0; i < XS_SITES; i++, at = (at + 1) % XS_SITES) {
        struct xs_site *s = &t->site[at];
        if (s->hash == 0) {
            if (t->used >= most)
                return 0;
            s->kind = kind;
            s->depth = depth;
            memcpy(s->frame, frame, depth * sizeof(*frame));
            t->used++;
            __atomic_store_n(&s->hash, hash, __ATOMIC_RELEASE);
            return (uint32_t)at + 1;
        }
        if (s->hash == hash && s->kind == kind && s->depth == depth &&
            memcmp(s->frame, frame, depth * sizeof(*frame)) == 0)
            return (uint32_t)at + 1;
    }
    return 0;
}

/* When most of the table is taken, stacks are told apart by their first functions only. */
static uint32_t find_site(uint32_t kind, const uint64_t *frame, uint32_t depth)
{
    uint32_t site = find_stack(kind, frame, depth, MOST_WHOLE);

    if (site == 0 && depth > CUT_DEPTH)
        site = find_stack(kind, frame, CUT_DEPTH, MOST_SITES);
    return site;
}

static void sum_add(struct xs_site_sum *to, const struct xs_site_sum *by)
{
    to->bytes += by->bytes;
    to->variance += by->variance;
    to->blocks += by->blocks;
    to->samples++;
}

static void sum_sub(struct xs_site_sum *to, const struct xs_site_sum *by)
{
    /* What rounding has left over goes when nothing is there. */
    if (to->samples <= 1) {
        *to = (struct xs_site_sum){0};
        return;
    }
    to->bytes -= by->bytes;
    to->variance -= by->variance;
    to->blocks -= by->blocks;
    to->samples--;
}

/* Blocks of devices are all taken, so each stands for itself. */
static struct xs_site_sum share_of(uint32_t kind, uint64_t size)
{
    double p = kind == 0 ? xs_chance_of(size == 0 ? 1 : size, own.mean_bytes) : 1;
    double bytes = (double)size / p;

    return (struct xs_site_sum){bytes, bytes * bytes * (1 - p), 1 / p, 1};
}

/* The site is about to change: what it had at the last peak is what it has now. */
static void note_peak(struct xs_site *s, const struct xs_site_peak *k)
{
    if (s->noted < k->number) {
        s->peak = s->live;
        s->noted = k->number;
    }
}

static void change(const struct xs_sampled *b, bool is_there, bool is_new)
{
    struct xs_site *s = site_at(b->site);
    struct xs_site_peak *k = &own.sites->kind[b->kind];
    struct xs_site_sum share = share_of(b->kind, b->size);

    note_peak(s, k);
    if (!is_there) {
        sum_sub(&s->live, &share);
        k->live -= share.bytes;
        return;
    }
    sum_add(&s->live, &share);
    if (is_new)
        sum_add(&s->total, &share);
    k->live += share.bytes;
    if (k->live > k->peak) {
        k->peak = k->live;
        k->number++;
    }
}

/* ---- blocks ----------------------------------------------------------------------------- */

static size_t place_of(uint32_t kind, const void *p)
{
    return (size_t)(xs_table_hash(kind, p) >> 20) & (own.capacity - 1);
}

static const void *address_of(const struct xs_sampled *b)
{
    return (const void *)b->address; // NOLINT(performance-no-int-to-ptr)
}

static struct xs_sampled *find_block(uint32_t kind, const void *p)
{
    if (own.capacity == 0)
        return NULL;
    for (size_t at = place_of(kind, p); own.block[at].address != 0;
         at = (at + 1) & (own.capacity - 1))
        if (own.block[at].address == (uintptr_t)p && (own.block[at].kind != 0) == (kind != 0))
            return &own.block[at];
    return NULL;
}

static void put_block(const struct xs_sampled *b)
{
    size_t at = place_of(b->kind, address_of(b));

    while (own.block[at].address != 0)
        at = (at + 1) & (own.capacity - 1);
    own.block[at] = *b;
}

/* A third of it stays free. */
static bool make_room(void)
{
    if (own.used < own.capacity / 3 * 2)
        return true;
    size_t old_capacity = own.capacity;
    struct xs_sampled *old = own.block;
    size_t capacity = old_capacity == 0 ? BLOCKS_LEAST : old_capacity * 2;
    struct xs_sampled *bigger = xs_mem_map(capacity * sizeof(*bigger), 1);

    if (bigger == NULL)
        return false;
    own.block = bigger;
    own.capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].address != 0)
            put_block(&old[i]);
    if (old != NULL)
        (void)xs_mem_unmap(old, old_capacity * sizeof(*old));
    return true;
}

static void filter(uint32_t kind, const void *p, int by)
{
    uint8_t *count = &xs_table_filter[xs_table_hash(kind, p) >> (64 - XS_FILTER_BITS)];
    uint8_t now = __atomic_load_n(count, __ATOMIC_RELAXED);

    if (now != UINT8_MAX)
        __atomic_store_n(count, (uint8_t)(now + by), __ATOMIC_RELAXED);
}

static bool add_block(const struct xs_sampled *b, bool is_new)
{
    if (!make_room())
        return false;
    put_block(b);
    own.used++;
    filter(b->kind, address_of(b), 1);
    change(b, true, is_new);
    return true;
}

bool xs_table_add(uint32_t kind, const void *p, uint64_t size, const uint64_t *frame,
                  uint32_t depth)
{
    struct xs_sampled b = {(uintptr_t)p, kind, 0, size};
    struct xs_sampled old;

    /* Freed while a signal handler could not take the lock. */
    (void)xs_table_remove(kind, p, &old);
    if (!make_room())
        return false;
    b.site = find_site(kind, frame, depth);
    own.sites->samples++;
    return add_block(&b, true);
}

bool xs_table_restore(const struct xs_sampled *was)
{
    return add_block(was, false);
}

bool xs_table_remove(uint32_t kind, const void *p, struct xs_sampled *was)
{
    struct xs_sampled *b = find_block(kind, p);

    if (b == NULL)
        return false;
    *was = *b;
    filter(kind, p, -1);
    own.used--;
    change(was, false, false);
    /* What lies behind it in the same run moves up, so that no look-up ends too early. */
    size_t hole = (size_t)(b - own.block);
    for (size_t at = (hole + 1) & (own.capacity - 1); own.block[at].address != 0;
         at = (at + 1) & (own.capacity - 1)) {
        size_t home = place_of(own.block[at].kind, address_of(&own.block[at]));
        if (((at - home) & (own.capacity - 1)) >= ((at - hole) & (own.capacity - 1))) {
            own.block[hole] = own.block[at];
            hole = at;
        }
    }
    own.block[hole].address = 0;
    return true;
}

void xs_table_fork_child(void)
{
    if (own.sites == NULL)
        return;
    if (own.block != NULL)
        (void)xs_mem_unmap(own.block, own.capacity * sizeof(*own.block));
    own.block = NULL;
    own.capacity = own.used = 0;
    memset(xs_table_filter, 0, sizeof(xs_table_filter));
    begin();
}
