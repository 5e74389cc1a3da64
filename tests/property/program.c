/* program.c - from a seed to a program. */
#include "program.h"

#include <stdio.h>
#include <string.h>

uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t below(uint64_t *state, uint64_t n)
{
    return draw(state) % n;
}

static bool chance(uint64_t *s, unsigned one_in)
{
    return below(s, one_in) == 0;
}

#define PICK(s, ...)                                                                               \
    (__extension__({                                                                               \
        static const uint64_t pick_[] = {__VA_ARGS__};                                             \
        pick_[below((s), sizeof pick_ / sizeof pick_[0])];                                         \
    }))

/* Log-uniform in 1..max: small sizes matter as much as large ones. */
static size_t draw_size(uint64_t *s, size_t max)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(max);
    size_t n = (size_t)1 << below(s, bits);
    switch (below(s, 3)) {
    case 0:
        break;
    case 1:
        n += below(s, n);
        break;
    default:
        n = n * 3 / 2;
    }
    return n < max ? n : max;
}

static void draw_options(uint64_t *s, struct xs_gpu_options *o, size_t bytes_each)
{
    enum { KIB = 1 << 10, MIB = 1 << 20 };
    const uint64_t gib = (uint64_t)1 << 30;
    static const enum xs_gpu_backend backends[] = {XS_GPU_CACHING, XS_GPU_CACHING, XS_GPU_CACHING,
                                                   XS_GPU_POOL,    XS_GPU_BFC,     XS_GPU_DIRECT,
                                                   XS_GPU_MANAGED};

    memset(o, 0, sizeof *o);
    o->step_count = chance(s, 3) ? 2 + (unsigned)below(s, 2) : 1;
    size_t last = 4 * KIB;
    for (unsigned i = 0; i < o->step_count; i++) {
        o->step[i].backend = backends[below(s, sizeof backends / sizeof backends[0])];
        o->step[i].last = i + 1 == o->step_count ? SIZE_MAX : last;
        last *= 16;
    }
    o->free_way = chance(s, 3) ? XS_GPU_STRICT : XS_GPU_DEFERRED;
    o->round = (enum xs_gpu_round)PICK(s, 0, 1, 2, 4, 8, 8);
    o->waste_percent = (unsigned)PICK(s, 0, 12, 12, 50);
    o->align = PICK(s, 256, 512, 512, 512, 4096);
    o->cache_max_bytes = PICK(s, 0, 64 * KIB, MIB, 16 * MIB, 256 * MIB, 256 * MIB, 4 * gib);
    o->cache_age_ns = PICK(s, 0, 0, 0, 1000, 1000000);
    o->low_free_bytes = chance(s, 5) ? bytes_each / 4 : 0;
    o->pool_min_block = PICK(s, KIB, KIB, 512, 4 * KIB);
    o->pool_max_block = PICK(s, 64 * KIB, MIB, 64 * MIB);
    o->pool_growth = chance(s, 3) ? 1.0 : 2.0;
    o->pool_limit_bytes = PICK(s, MIB, 16 * MIB, 256 * MIB);
    o->pool_class_blocks = (unsigned)PICK(s, 0, 1, 16);
    o->pool_defragment_ns = chance(s, 4) ? 1000 : 0;
    o->bfc_initial_bytes = PICK(s, 0, 64 * KIB, 4 * MIB);
    o->bfc_limit_bytes = PICK(s, 0, 0, 8 * MIB, 256 * MIB);
    o->prefetch = chance(s, 2);
    o->prefetch_back = o->low_free_bytes != 0;
    o->pinned_max_bytes = PICK(s, 0, 64 * KIB, 64 * MIB);
    o->oom_wait_ns = PICK(s, 0, 1000, 100000);
}

enum where {
    ANY,
    STREAMS = 1,
    IN_TURNS = 2,
    STREAMS_IN_TURNS = 3,
};

/* Each program does only some kinds of operation, so that each is tried without the others. */
static void draw_operations(struct program *p, uint64_t *s)
{
    static const struct {
        unsigned weight, where;
    } of[OP_KINDS] = {
#define X(name, weight, where) {weight, where},
        OPERATIONS(X)
#undef X
    };
    unsigned weight[OP_KINDS], sum = 0;
    for (unsigned k = 0; k < OP_KINDS; k++) {
        bool often = k == OP_malloc || k == OP_free || k == OP_touch || k == OP_advance;
        bool out = ((of[k].where & STREAMS) && p->legacy_only) ||
                   ((of[k].where & IN_TURNS) && !p->turns) || (k == OP_inject && !p->injects) ||
                   (k == OP_poison && !p->poisons) || (p->legacy_only && k == OP_context_switch) ||
                   (!p->turns && k == OP_capture_begin) || (p->turns && k == OP_capture_whole);
        weight[k] = out || (!often && chance(s, 3)) ? 0 : of[k].weight;
        if (often && !out)
            weight[k] += (unsigned)below(s, weight[k] + 1);
        sum += weight[k];
    }
    unsigned thread = 0;
    for (unsigned i = 0; i < p->n; i++) {
        struct op *op = &p->op[i];
        unsigned at = (unsigned)below(s, sum), k = 0;
        while (at >= weight[k])
            at -= weight[k++];
        if (!p->turns || chance(s, 4)) /* threads that take turns keep theirs for a while */
            thread = (unsigned)below(s, p->threads);
        op->kind = (enum op_kind)k;
        op->thread = thread;
        for (unsigned j = 0; j < 4; j++)
            op->r[j] = (uint32_t)draw(s);
    }
}

void program_make(struct program *p, uint64_t seed, enum threads_wanted wanted)
{
    uint64_t state = seed * 0x2545f4914f6cdd1du, *s = &state;
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->threads = chance(s, 3) ? 1 : 1 + (unsigned)below(s, MAX_THREADS);
    p->turns = !chance(s, 4) || p->threads == 1;
    if (wanted == THREADS_IN_TURNS)
        p->turns = true;
    if (wanted == THREADS_FREE) {
        p->turns = false;
        p->threads = 2 + p->threads % (MAX_THREADS - 1);
    }
    p->legacy_only = chance(s, 5);
    p->devices = p->legacy_only || !chance(s, 4) ? 1 : 2;
    p->tight = chance(s, 3);
    p->bytes_each = p->tight ? PICK(s, 256 << 10, 4 << 20, 64 << 20) : (size_t)4 << 30;
    p->granule = PICK(s, 512, 512, 512, 64 << 10);
    p->version = (int)PICK(s, 11040, 12040, 12080, 13000, 13000);
    p->injects = chance(s, 4);
    p->poisons = chance(s, 12);
    for (int d = 0; d < p->devices; d++)
        draw_options(s, &p->options[d], p->bytes_each);
    p->size_max = p->tight ? p->bytes_each / 4 : PICK(s, 64 << 10, 4 << 20, 256 << 20);
    p->tight |= p->size_max * MAX_OPS > p->bytes_each / 2;
    p->nsizes = 1 + (unsigned)below(s, MAX_SIZES);
    for (unsigned i = 0; i < p->nsizes; i++)
        p->size[i] = draw_size(s, p->size_max);
    p->live_max = 4 + (unsigned)below(s, chance(s, 3) ? 160 : 24);
    p->n = 20 + (unsigned)below(s, MAX_OPS - 20);
    draw_operations(p, s);
}

const char *op_name(enum op_kind kind)
{
    static const char *const names[] = {
#define X(name, weight, where) #name,
        OPERATIONS(X)
#undef X
    };
    return names[kind];
}

bool program_backend_is(const struct program *p, int device, enum xs_gpu_backend backend)
{
    const struct xs_gpu_options *o = &p->options[device];
    for (unsigned i = 0; i < o->step_count; i++)
        if (o->step[i].backend == backend)
            return true;
    return false;
}

void program_print(const struct program *p)
{
    static const char *const backends[] = {"caching", "pool", "bfc", "direct", "managed"};
    printf("seed %lu: driver %d, %d device%s of %zu KiB in %zu B, %u thread%s %s%s%s%s, %u ops\n",
           p->seed, p->version, p->devices, p->devices > 1 ? "s" : "", p->bytes_each >> 10,
           p->granule, p->threads, p->threads > 1 ? "s" : "", p->turns ? "in turns" : "free",
           p->legacy_only ? ", legacy stream only" : "", p->injects ? ", errors" : "",
           p->poisons ? ", poison" : "", p->n);
    for (int d = 0; d < p->devices; d++) {
        const struct xs_gpu_options *o = &p->options[d];
        printf("  device %d:", d);
        for (unsigned i = 0; i < o->step_count; i++)
            printf(" %s to %#zx", backends[o->step[i].backend], o->step[i].last);
        printf(", %s, round %d, waste %u, align %zu, cache %lu, age %lu, low %lu,\n"
               "    pool %zu-%zu x %.1f limit %lu class %u defragment %lu, bfc %lu limit %lu,"
               " prefetch %d, pinned %lu, wait %lu\n",
               o->free_way == XS_GPU_STRICT ? "strict" : "deferred", o->round, o->waste_percent,
               o->align, o->cache_max_bytes, o->cache_age_ns, o->low_free_bytes, o->pool_min_block,
               o->pool_max_block, o->pool_growth, o->pool_limit_bytes, o->pool_class_blocks,
               o->pool_defragment_ns, o->bfc_initial_bytes, o->bfc_limit_bytes, o->prefetch,
               o->pinned_max_bytes, o->oom_wait_ns);
    }
}
