/* gpu/piece.h against the fake driver: freed pieces stay with their thread, and go back by rule;
 * ranges leave to come back as one, and no malloc and no deferred free waits for it. Each test is a
 * process of its own. */
#include <semaphore.h>

#include "gpu/range.h"
#include "tests/support/gpu_test.h"

enum { BLOCKS = 16 };

static CUdeviceptr block[BLOCKS];

static void start_bfc(enum xs_gpu_free free_way)
{
    options.step[0].backend = XS_GPU_BFC;
    options.free_way = free_way;
    start();
}

/* A violation of what the fake's oracle watches over aborts. */
TestSuite(gpu_piece, .timeout = 20);

static void get_all(size_t size)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        block[i] = get(size);
}

static void give_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        give(block[i]);
}

static uint64_t reserved(void)
{
    cr_assert_eq(stats().reserved_bytes, fake_used(0));
    return stats().reserved_bytes;
}

Test(gpu_piece, ranges_come_back_as_one)
{
    start_bfc(XS_GPU_STRICT);
    /* The second size fits into no range of the first. */
    get_all(2 * MIB);
    give_all();
    get_all(3 * MIB);
    give_all();
    get_all(2 * MIB);
    cr_assert_leq(fake_blocks(), 2);
    uint64_t after = reserved();
    cr_assert_leq(after, BLOCKS * 3 * MIB * 115 / 100, "%lu bytes", (unsigned long)after);
    give_all();
    unsigned long calls = fake_calls("cuMemAlloc_v2");
    for (int i = 0; i < 20; i++) {
        get_all((size_t)(1 + i % 3) * MIB);
        give_all();
    }
    cr_assert_leq(fake_calls("cuMemAlloc_v2"), calls + 2);
    cr_assert_leq(reserved(), after);
}

/* A kernel that never ends: a free that waited for it would abort. */
Test(gpu_piece, no_deferred_free_waits_for_a_merge)
{
    start_bfc(XS_GPU_DEFERRED);
    get_all(2 * MIB);
    fake_hold(NULL);
    for (size_t i = 0; i < 100; i++) {
        give_all();
        get_all((3 - i % 2) * MIB);
    }
    give_all();
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    /* Once for each change of the size, as it may be over at any time. */
    cr_assert_leq(fake_calls("cuStreamQuery"), 110, "%lu", fake_calls("cuStreamQuery"));
    cr_assert_gt(fake_calls("cuStreamQuery"), 2);
    fake_release(NULL);
    fake_advance(FAKE_ALL, 99);
    get_all(3 * MIB);
    cr_assert_gt(fake_calls("cuMemFree_v2"), 0);
    cr_assert_leq(fake_blocks(), 2);
}

Test(gpu_piece, no_free_in_a_stream_waits_for_a_merge)
{
    start_bfc(XS_GPU_STRICT);
    get_all(2 * MIB);
    fake_hold(NULL);
    for (unsigned i = 0; i < BLOCKS; i++) {
        fake_life_end(P(block[i]));
        OK(xs_gpu_free_async(block[i], NULL, cuMemFreeAsync));
    }
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    fake_release(NULL);
}

Test(gpu_piece, no_merge_during_a_capture)
{
    CUgraph graph;

    start_bfc(XS_GPU_STRICT);
    get_all(2 * MIB);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    xs_gpu_capture_begun();
    OK(cuStreamBeginCapture_v2(s, CU_STREAM_CAPTURE_MODE_GLOBAL));
    give_all();
    cr_assert_eq(fake_calls("cuMemFree_v2"), 0);
    OK(cuStreamEndCapture(s, &graph));
    xs_gpu_capture_ended();
}

/* Somebody else has taken what was given back: less is asked for, and nothing flushed or waited
 * for. */
Test(gpu_piece, memory_that_somebody_else_took)
{
    CUdeviceptr theirs;

    start_bfc(XS_GPU_STRICT);
    (void)get(MIB);
    get_all(200 * MIB);
    give_all();
    cr_assert_leq(reserved(), 300 * MIB);
    OK(cuMemAlloc_v2(&theirs, (size_t)4096 * MIB - fake_used(0) - 300 * MIB));
    fake_hold(NULL);
    (void)get(250 * MIB);
    cr_assert_eq(stats().flushes, 0);
    cr_assert_geq(stats().slabs, 2, "served from a range");
    fake_release(NULL);
}

/* ---- pieces that stay with the thread that freed them ---- */

Test(gpu_piece, a_freed_piece_comes_back)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr p = get(10000), q = get(10000);
    give(p);
    cr_assert_eq(stats().cached_bytes, 10240);
    give(q);
    cr_assert_eq(get(10100), q, "the last one first, of what it is rounded to");
    cr_assert_eq(get(10000), p);
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_eq(stats().hits_cut, 1, "only the second was cut");
    cr_assert_eq(stats().in_use_bytes, 20480);
}

Test(gpu_piece, not_with_work_pending)
{
    start_bfc(XS_GPU_DEFERRED);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr keep = get(MIB), p = get(10000);
    OK(fake_touch(s, P(p), 10000));
    give(p);
    cr_assert_eq(stats().cached_bytes, 10240);
    for (int i = 0; i < 500; i++) { /* beyond the range, so that all is looked through */
        CUdeviceptr q = get(10000);
        cr_assert_neq(q, p);
        OK(fake_touch(NULL, P(q), 10000));
    }
    cr_assert_eq(stats().cached_bytes, 10240, "it stayed where it was");
    fake_advance(FAKE_ALL, 9999);
    uint64_t e = xs_gpu_before_sync();
    OK(cuCtxSynchronize());
    xs_gpu_after_sync(ctx, e);
    cr_assert_eq(get(10000), p);
    give(keep);
}

Test(gpu_piece, what_is_done_but_not_proven_makes_room)
{
    start_bfc(XS_GPU_DEFERRED);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    get_all(120000);
    for (unsigned i = 0; i < BLOCKS; i++)
        OK(fake_touch(s, P(block[i]), 120000));
    give_all();
    fake_advance(FAKE_ALL, 999);
    CUdeviceptr p = get(1800000);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(fake_calls("cuCtxRecordEvent"), 1);
    give(p);
}

/* Its bytes are another piece's before its work is done: that is in order only as long as there is
 * one stream. */
Test(gpu_piece, what_went_round_by_order_is_waited_for)
{
    start_bfc(XS_GPU_STRICT);
    get_all(120000);
    for (unsigned i = 0; i < BLOCKS; i++)
        OK(fake_touch(NULL, P(block[i]), 120000));
    give_all();
    CUdeviceptr p = get(1800000);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(fake_pending(NULL), BLOCKS);
    OK(fake_touch(stream(CU_STREAM_NON_BLOCKING), P(p), 1800000)); /* the oracle aborts */
}

Test(gpu_piece, what_was_freed_on_a_stream_comes_back_on_it)
{
    CUdeviceptr q = 0;

    start_bfc(XS_GPU_STRICT);
    CUstream s = stream(CU_STREAM_NON_BLOCKING), t = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(10000);
    OK(fake_touch(s, P(p), 10000));
    fake_life_end(P(p));
    OK(xs_gpu_free_async(p, s, cuMemFreeAsync));
    OK(xs_gpu_malloc_on(&q, 10000, t));
    cr_assert_neq(q, p);
    OK(xs_gpu_malloc_on(&q, 10000, s));
    cr_assert_eq(q, p);
    fake_life_begin(P(q), 10000);
    OK(fake_touch(s, P(q), 10000));
    cr_assert_eq(stats().reuse_stream, 1);
}

Test(gpu_piece, a_freed_piece_is_nobodys)
{
    CUdeviceptr base = 1;
    CUresult r = CUDA_SUCCESS;
    size_t size = 1;

    start_bfc(XS_GPU_STRICT);
    CUdeviceptr first = get(10000), p = get(10000);
    cr_assert(xs_gpu_block_range(p + 5, &base, &size));
    cr_assert_eq(base, p);
    give(p);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p));
    GIVES(CUDA_ERROR_NOT_FOUND, xs_gpu_address_range(&base, &size, p));
    GIVES(CUDA_ERROR_NOT_FOUND, xs_gpu_address_range(&base, &size, p + 5));
    cr_assert_not(xs_gpu_block_range(p, &base, &size));
    cr_assert(xs_gpu_exporting(p, &r));
    cr_assert_eq(r, CUDA_ERROR_INVALID_VALUE);
    cr_assert(xs_gpu_exporting(first, &r));
    cr_assert_eq(r, CUDA_ERROR_NOT_SUPPORTED);
    GIVES(CUDA_ERROR_NOT_FOUND, xs_gpu_address_range(&base, &size, first + 100000));
}

/* So many that their places in the table collide, cut anew in other sizes time and again. */
Test(gpu_piece, addresses_go_from_piece_to_piece)
{
    enum { MANY = 3000 }; /* more than is never much */
    static CUdeviceptr many[MANY];

    start_bfc(XS_GPU_STRICT);
    for (unsigned round = 0; round < 6; round++) {
        size_t size = round % 2 == 0 ? 1024 : 1536;
        for (unsigned i = 0; i < MANY; i++) {
            CUdeviceptr was = many[i];
            many[i] = get(size);
            const struct xs_gpu_block *b = xs_gpu_block_find(many[i]);
            cr_assert(b != NULL && b->size == size && !xs_gpu_block_is_kept(b));
            if (i == 0 && was != 0) /* now all have gone back */
                for (unsigned k = 1; k < MANY; k++)
                    cr_assert_null(xs_gpu_block_find(many[k]), "%u in round %u", k, round);
        }
        cr_assert_eq(stats().in_use_bytes, MANY * size);
        for (unsigned i = 0; i < MANY; i++)
            give(many[i]);
        cr_assert_eq(stats().in_use_bytes, 0u);
        GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(many[round]));
    }
    cr_assert_leq(stats().reserved_bytes, 16 * MIB);
}

Test(gpu_piece, other_sizes_get_the_memory)
{
    start_bfc(XS_GPU_STRICT);
    get_all(120000);
    give_all();
    cr_assert_eq(stats().cached_bytes, BLOCKS * 120320);
    CUdeviceptr p = get(1800000); /* all of it together */
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(stats().cached_bytes, 0);
    give(p);
}

Test(gpu_piece, what_is_needed_comes_from_it)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr large = get(MIB + MIB / 2);
    get_all(30000);
    give_all(); /* less than half of what is in use: it stays until there is no other room */
    CUdeviceptr p = get(512);
    cr_assert_eq(stats().cached_bytes, BLOCKS * 30208);
    CUdeviceptr q = get(400000);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(stats().cached_bytes, 0);
    give(large);
    give(p);
    give(q);
}

static void *free_all_in_thread(void *arg)
{
    OK(cuCtxSetCurrent(ctx));
    give_all();
    return arg;
}

Test(gpu_piece, other_threads_get_it_too)
{
    pthread_t t;

    start_bfc(XS_GPU_STRICT);
    get_all(120000);
    CUdeviceptr other = get(512);
    cr_assert_eq(pthread_create(&t, NULL, free_all_in_thread, NULL), 0);
    pthread_join(t, NULL);
    cr_assert_eq(stats().cached_bytes, BLOCKS * 120320);
    (void)get(1800000);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    give(other);
}

Test(gpu_piece, little_that_is_cached_stays)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr large = get(MIB), p = get(10000);
    give(p);
    (void)get(20000);
    cr_assert_eq(stats().cached_bytes, 10240, "beside a MiB in use");
    cr_assert_eq(get(10000), p);
    give(large);
}

/* Of other sizes, and nothing else in use. */
Test(gpu_piece, what_the_least_range_holds_stays)
{
    start_bfc(XS_GPU_STRICT);
    get_all(60000);
    give_all();
    for (unsigned i = 0; i < 8; i++)
        give(get(30000 + 10000 * (i % 2)));
    cr_assert_eq(stats().cached_bytes, BLOCKS * 60416 + 30208 + 40448);
    get_all(60000);
    cr_assert_eq(stats().hits_cut, BLOCKS + 2 - 1, "all but the first piece, once");
    give_all();
}

/* A size that another one has put out of the list of quick ones. */
Test(gpu_piece, a_hit_makes_a_size_quick_again)
{
    size_t a = 4096, b = a, step = xs_gpu_step_of(a);

    start_bfc(XS_GPU_STRICT);
    give(get(a));
    const struct xs_gpu_quick *q = xs_gpu_quick_at(xs_gpu_shard_mine, step);
    do
        b += 256;
    while (xs_gpu_quick_at(xs_gpu_shard_mine, xs_gpu_step_of(b)) != q);
    give(get(b));
    cr_assert_eq(q->step, xs_gpu_step_of(b));
    give(get(a));
    cr_assert_eq(q->step, step);
    cr_assert_not_null(q->from);
}

/* Of the second size, after as many of the first were cached. */
static void begin_rows(enum xs_gpu_backend backend)
{
    options.step[0].backend = backend;
    start();
    get_all(256 * 1024);
    give_all();
    for (unsigned i = 0; i < 3; i++)
        block[i] = get(128 * 1024);
}

/* What is not asked for after all was never there. */
Test(gpu_piece, pieces_that_are_cut_ahead)
{
    CUdeviceptr base;
    size_t size;

    begin_rows(XS_GPU_BFC);
    cr_assert_eq(stats().cached_bytes, 13 * 128 * 1024, "16, as in the last row");
    cr_assert_eq(stats().in_use_bytes, 3 * 128 * 1024);
    cr_assert_eq(stats().cached_bytes_peak, BLOCKS * 256 * 1024);
    CUdeviceptr next = block[2] + 128 * 1024;
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(next));
    GIVES(CUDA_ERROR_NOT_FOUND, xs_gpu_address_range(&base, &size, next));
    uint64_t cut = stats().hits_cut;
    cr_assert_eq(get(128 * 1024), next);
    cr_assert_eq(stats().hits_cut, cut, "it was cut before");
    cr_assert_eq(get(50000), next + 128 * 1024, "where it is without them");
    cr_assert_eq(stats().cached_bytes, 0);
    cr_assert_eq(stats().hits_cut, cut - 12 + 1);
}

Test(gpu_piece, a_context_takes_what_was_cut_ahead_along)
{
    begin_rows(XS_GPU_BFC);
    cr_assert_gt(stats().cached_bytes, 0);
    for (unsigned i = 0; i < 3; i++)
        fake_life_end(P(block[i]));
    xs_gpu_device_reset(0);
    cr_assert_eq(stats().cached_bytes, 0);
    OK(cuDevicePrimaryCtxReset(0));
    OK(cuDevicePrimaryCtxRetain(&ctx, 0));
    OK(cuCtxSetCurrent(ctx));
    xs_gpu_after_context(ctx);
    get_all(256 * 1024);
    give_all();
    get_all(128 * 1024);
    cr_assert_eq(reserved(), stats().reserved_bytes);
    give_all();
}

Test(gpu_piece, pool_cuts_ahead_too)
{
    begin_rows(XS_GPU_POOL);
    cr_assert_gt(stats().cached_bytes, 0);
    cr_assert_eq(get(128 * 1024), block[2] + 128 * 1024);
}

/* A record that had such a piece is like any other, once the range has gone. */
Test(gpu_piece, what_was_never_to_be_used_again_leaves_no_mark)
{
    start_bfc(XS_GPU_STRICT);
    for (unsigned round = 0; round < 2; round++) {
        get_all(MIB);
        for (unsigned i = 0; i < BLOCKS; i++)
            xs_gpu_never_reuse(block[i]);
        give_all();
        xs_gpu_clear(-1);
        cr_assert_eq(reserved(), 0);
        get_all(MIB);
        give_all();
        cr_assert_eq(stats().cached_bytes, BLOCKS * MIB);
        xs_gpu_clear(-1);
    }
}

/* Others need the room. */
Test(gpu_piece, what_was_cut_ahead_gives_way)
{
    begin_rows(XS_GPU_BFC);
    xs_gpu_clear(-1);
    cr_assert_eq(stats().cached_bytes, 0);
    xs_gpu_set_cache_max(-1, 300 * 1024);
    get_all(128 * 1024);
    cr_assert_leq(stats().cached_bytes, 300 * 1024);
    give_all();
    cr_assert_leq(stats().cached_bytes, 300 * 1024);
}

Test(gpu_piece, the_limit_holds)
{
    options.cache_max_bytes = 50000;
    start_bfc(XS_GPU_STRICT);
    get_all(10000);
    for (unsigned i = 0; i < BLOCKS; i++) {
        give(block[i]);
        cr_assert_leq(stats().cached_bytes, 50000);
    }
    cr_assert_geq(stats().cached_bytes, 10240);
    CUdeviceptr p = get(60000);
    give(p);
    cr_assert_leq(stats().cached_bytes, 50000);
    xs_gpu_set_cache_max(-1, 0);
    cr_assert_eq(stats().cached_bytes, 0);
    p = get(10000);
    give(p);
    cr_assert_eq(stats().cached_bytes_peak, 40960);
    cr_assert_eq(stats().cached_bytes, 0);
    xs_gpu_clear(-1);
    cr_assert_eq(fake_used(0), 0);
}

Test(gpu_piece, all_of_it_can_be_given_back)
{
    options.pool_limit_bytes = (uint64_t)1 << 30;
    options.step[0].backend = XS_GPU_POOL;
    start();
    get_all(10000);
    give_all();
    cr_assert_gt(stats().cached_bytes, 0);
    cr_assert_gt(xs_gpu_defragment(-1), 0);
    cr_assert_eq(fake_used(0), 0);
    get_all(MIB);
    give_all();
    xs_gpu_clear(0);
    cr_assert_eq(fake_used(0), 0);
    cr_assert_eq(stats().cached_bytes + stats().reserved_bytes + stats().in_use_bytes, 0);
}

Test(gpu_piece, pieces_that_nobody_wants_go_back)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr large = get(MIB), p = get(10000), q = get(512);
    give(p);
    give(q);
    for (int i = 0; i < 40000; i++) {
        q = get(512);
        give(q);
    }
    cr_assert_eq(stats().cached_bytes, 512);
    give(large);
}

Test(gpu_piece, free_memory_counts_ranges_that_are_wholly_free)
{
    size_t before, left, total;

    start_bfc(XS_GPU_STRICT);
    OK(xs_gpu_mem_info(&before, &total));
    get_all(MIB);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_leq(left, before - BLOCKS * MIB);
    give_all();
    cr_assert_gt(fake_used(0), 0);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_eq(left, before);
    CUdeviceptr p = get(512);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_lt(left, before, "what a piece lies in is not free");
    give(p);
}

Test(gpu_piece, free_memory_does_not_count_pieces_with_work_pending)
{
    size_t before, left, total;

    start_bfc(XS_GPU_DEFERRED);
    CUstream s = stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr p = get(100000);
    OK(xs_gpu_mem_info(&before, &total));
    OK(fake_touch(s, P(p), 100000));
    give(p);
    OK(xs_gpu_mem_info(&left, &total));
    cr_assert_eq(left, before);
}

/* ---- memory that must not be used again ---- */

Test(gpu_piece, what_is_changed_for_good_goes_with_its_range)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr beside = get(10000), p = get(10000);
    xs_gpu_never_reuse(p + 100);
    give(p);
    GIVES(CUDA_ERROR_INVALID_VALUE, xs_gpu_free(p));
    cr_assert_eq(stats().cached_bytes, 0);
    for (int i = 0; i < 150; i++)
        cr_assert_neq(get(10000), p); /* the range is full now */
    xs_gpu_clear(-1);
    cr_assert_neq(fake_used(0), 0);
    give(beside);
    xs_gpu_clear(-1);
    cr_assert_neq(fake_used(0), 0, "others are in it");
}

Test(gpu_piece, a_range_of_which_all_is_lost_leaves_at_once)
{
    start_bfc(XS_GPU_STRICT);
    get_all(10000);
    for (unsigned i = 0; i < BLOCKS; i++)
        xs_gpu_never_reuse(block[i]);
    give_all();
    cr_assert_eq(fake_used(0), 0);
    cr_assert_eq(stats().reserved_bytes, 0);
    get_all(10000); /* and another one serves */
    cr_assert_gt(fake_used(0), 0);
}

Test(gpu_piece, a_lost_range_is_not_waited_for)
{
    start_bfc(XS_GPU_DEFERRED);
    CUdeviceptr p = get(10000);
    xs_gpu_never_reuse(p);
    OK(fake_touch(NULL, P(p), 10000));
    fake_hold(NULL);
    give(p);
    cr_assert_gt(fake_used(0), 0);
    fake_release(NULL);
    fake_advance(FAKE_ALL, 99);
    xs_gpu_clear(-1);
    cr_assert_eq(fake_used(0), 0);
}

/* ---- several threads ---- */

/* A thread beside the test's, which does what it is told. */
static struct {
    pthread_t thread;
    sem_t go, done;
    void (*what)(void);
    struct xs_gpu_shard *shard;
} other;

static void *be_other(void *arg)
{
    (void)arg;
    OK(cuCtxSetCurrent(ctx));
    for (;;) {
        sem_wait(&other.go);
        if (other.what == NULL)
            return NULL;
        other.what();
        other.shard = xs_gpu_shard_mine;
        sem_post(&other.done);
    }
}

static void begin_other(void)
{
    sem_init(&other.go, 0, 0);
    sem_init(&other.done, 0, 0);
    cr_assert_eq(pthread_create(&other.thread, NULL, be_other, NULL), 0);
}

static void other_does(void (*what)(void))
{
    other.what = what;
    sem_post(&other.go);
    sem_wait(&other.done);
}

static void end_other(void)
{
    other.what = NULL;
    sem_post(&other.go);
    pthread_join(other.thread, NULL);
}

static bool is_of(const struct xs_gpu_range *r, struct xs_gpu_shard *s)
{
    for (unsigned c = 0; c < XS_GPU_CONTEXTS; c++)
        for (unsigned k = 0; k < XS_GPU_PARTED; k++)
            if (atomic_load(&s->range[c][k]) == r)
                return true;
    return false;
}

static CUdeviceptr own[BLOCKS];

/* Whenever the size changes, every piece is cut anew. */
static void change_sizes(void)
{
    for (unsigned n = 0; n < 200; n++) {
        for (unsigned i = 0; i < BLOCKS; i++)
            own[i] = get(n % 2 == 0 ? 60000 : 100000);
        for (unsigned i = 0; i < BLOCKS; i++)
            give(own[i]);
    }
}

/* The locks of all other threads are held meanwhile: the test does not end if one is waited for. */
Test(gpu_piece, no_hit_takes_a_lock_of_others)
{
    start_bfc(XS_GPU_STRICT);
    get_all(1000); /* most of this thread's range is free */
    begin_other();
    other_does(change_sizes);
    struct xs_gpu_stats before = stats();
    unsigned long calls = fake_calls("cuMemAlloc_v2");
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next)
        if (s != other.shard)
            xs_gpu_shard_take(s);
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r))
        if (!is_of(r, other.shard))
            xs_lock_take(&r->lock);
    other_does(change_sizes);
    for (struct xs_gpu_range *r = xs_gpu_range_next(NULL); r != NULL; r = xs_gpu_range_next(r))
        if (!is_of(r, other.shard))
            xs_lock_give(&r->lock);
    for (struct xs_gpu_shard *s = xs_gpu_shards(); s != NULL; s = s->next)
        if (s != other.shard)
            xs_gpu_shard_give(s);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), calls, "all were hits");
    cr_assert_geq(stats().hits_cut - before.hits_cut, 199 * BLOCKS);
    give_all();
    end_other();
}

static void get_three(void)
{
    own[0] = get(3 * MIB);
}

static void give_it(void)
{
    give(own[0]);
}

Test(gpu_piece, idle_ranges_go_to_who_needs_them)
{
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr p = get(8 * MIB);
    give(p);
    uint64_t held = reserved();
    begin_other();
    for (unsigned i = 0; i < 3; i++) { /* to and fro */
        other_does(get_three);
        other_does(give_it);
        p = get(8 * MIB);
        give(p);
    }
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    cr_assert_eq(reserved(), held);
    cr_assert_eq(stats().slabs, 1);
    cr_assert_eq(stats().slabs_given_back, 0, "the driver has none of them");
    end_other();
}

Test(gpu_piece, the_limit_is_one_for_all_threads)
{
    options.bfc_limit_bytes = 8 * MIB;
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr p[4];
    for (unsigned i = 0; i < 4; i++)
        p[i] = get(3 * MIB / 2);
    cr_assert_leq(xs_gpu_devices[0].range_bytes, 8 * MIB);
    begin_other();
    other_does(get_three); /* by the driver */
    cr_assert_leq(xs_gpu_devices[0].range_bytes, 8 * MIB);
    other_does(give_it);
    give(p[1]);
    give(p[2]);
    unsigned long calls = fake_calls("cuMemAlloc_v2");
    uint64_t ranges = xs_gpu_devices[0].range_bytes;
    other_does(get_three); /* what the driver gave is cached, and of another place */
    cr_assert_leq(fake_calls("cuMemAlloc_v2"), calls + 1);
    cr_assert_leq(xs_gpu_devices[0].range_bytes, ranges);
    other_does(give_it);
    end_other();
}

static void get_half(void)
{
    own[0] = get(MIB / 2);
}

/* Beyond the limit a piece comes from another thread's range. */
Test(gpu_piece, pieces_of_others_ranges)
{
    options.bfc_limit_bytes = 2 * MIB;
    start_bfc(XS_GPU_STRICT);
    CUdeviceptr p[4];
    for (unsigned i = 0; i < 4; i++)
        p[i] = get(MIB / 2);
    give(p[1]);
    begin_other();
    other_does(get_half);
    cr_assert_eq(own[0], p[1]);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    give(own[0]); /* back to the range, whoever frees it */
    xs_gpu_clear(-1);
    cr_assert_eq(stats().slabs, 1);
    give(p[0]);
    give(p[2]);
    give(p[3]);
    xs_gpu_clear(-1);
    cr_assert_eq(reserved(), 0);
    end_other();
}
