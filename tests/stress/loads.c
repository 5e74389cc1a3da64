/* loads.c - what the threads of a stress run do. */
#include "stress.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

/* ---- some threads allocate, others free ---- */

enum { RING = 64 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned first, used, producers;
    struct block ring[RING];
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static unsigned producers;
static unsigned blocks_each;

static void produce(uint64_t *random)
{
    for (unsigned i = 0; i < blocks_each; i++) {
        struct block b = block_get(random, random_size(random, 64 * KIB));

        pthread_mutex_lock(&queue.lock);
        while (queue.used == RING)
            pthread_cond_wait(&queue.changed, &queue.lock);
        queue.ring[(queue.first + queue.used++) % RING] = b;
        pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
    }
    pthread_mutex_lock(&queue.lock);
    queue.producers--;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}

static void consume(uint64_t *random)
{
    struct block taken[RING];

    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (queue.used == 0 && queue.producers > 0)
            pthread_cond_wait(&queue.changed, &queue.lock);
        unsigned n = queue.used;
        for (unsigned i = 0; i < n; i++)
            taken[i] = queue.ring[(queue.first + i) % RING];
        queue.first = (queue.first + n) % RING;
        queue.used = 0;
        pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
        if (n == 0)
            return;
        for (unsigned i = 0; i < n; i++) {
            if (random_below(random, 8) == 0)
                block_resize(&taken[i], random, random_size(random, 128 * KIB));
            block_put(&taken[i]);
        }
    }
}

static void *flow_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    uint64_t random = random_of(who);

    if (who < producers)
        produce(&random);
    else
        consume(&random);
    return NULL;
}

static void flow(unsigned from, unsigned to)
{
    producers = queue.producers = from;
    blocks_each = scaled(40000) / from + 1;
    team(from + to, flow_thread);
}

static void one_to_many(void)
{
    flow(1, 4);
}

static void many_to_one(void)
{
    flow(4, 1);
}

static void many_to_many(void)
{
    flow(4, 4);
}

/* ---- one thread's blocks are freed by others, and it does nothing more ---- */

static void *given_thread(void *arg)
{
    for (size_t i = (uintptr_t)arg; i < TABLE; i += 4) {
        struct block b = {NULL, 0, 0};

        table_swap(i, &b);
        block_put(&b);
    }
    return NULL;
}

static void given(void)
{
    uint64_t random = random_of(0);
    unsigned rounds = scaled(12);

    for (unsigned round = 0; round < rounds; round++) {
        for (size_t i = 0; i < TABLE; i++) {
            struct block b = block_get(&random, random_size(&random, 128 * KIB));
            table_swap(i, &b);
        }
        team(4, given_thread);
    }
}

/* ---- storms: threads that end at once and leave blocks behind ---- */

enum { STORM_TEAM = 16, STORM_BLOCKS = 40, STORM_LEFT = 12 };

static unsigned wave;

static void *storm_thread(void *arg)
{
    uint64_t random = random_of(wave * STORM_TEAM + (unsigned)(uintptr_t)arg);
    struct block mine[STORM_BLOCKS];

    for (unsigned i = 0; i < STORM_BLOCKS; i++)
        mine[i] = block_get(&random, random_size(&random, i % 20 == 0 ? 256 * KIB : 2 * KIB));
    /* Hers stay in the table when she is gone, and those of the dead are freed here. */
    for (unsigned i = 0; i < STORM_LEFT; i++)
        table_swap(random_below(&random, TABLE), &mine[i]);
    for (unsigned i = 0; i < STORM_BLOCKS; i++)
        block_put(&mine[i * 7 % STORM_BLOCKS]);
    return NULL;
}

static void storm(void)
{
    unsigned waves = scaled(120);

    for (wave = 0; wave < waves; wave++)
        team(STORM_TEAM, storm_thread);
}

/* ---- frees and allocations in a thread's destructors, and after the last of them ---- */

static pthread_key_t early_key, late_key;

struct last_words {
    struct block b[2];
    uint64_t random;
    unsigned rounds;
};
static struct last_words last_words[2][STORM_TEAM];

static void last_word(pthread_key_t key, struct last_words *w)
{
    block_put(&w->b[w->rounds % 2]);
    w->b[w->rounds % 2] = block_get(&w->random, random_size(&w->random, 4 * KIB));
    table_swap(random_below(&w->random, TABLE), &w->b[w->rounds % 2]);
    /* Again in the next round, as long as there is one; what is left then goes to others. */
    if (++w->rounds < DESTRUCTOR_ROUNDS)
        pthread_setspecific(key, w);
    else
        for (unsigned i = 0; i < 2; i++)
            block_put(&w->b[i]);
}

static void early_destructor(void *arg)
{
    last_word(early_key, arg);
}

static void late_destructor(void *arg)
{
    last_word(late_key, arg);
}

static void *late_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;

    for (unsigned k = 0; k < 2; k++) {
        struct last_words *w = &last_words[k][who];

        w->random = random_of(wave * 2 * STORM_TEAM + 2 * who + k);
        w->rounds = 0;
        for (unsigned i = 0; i < 2; i++)
            w->b[i] = block_get(&w->random, random_size(&w->random, 64 * KIB));
        pthread_setspecific(k == 0 ? early_key : late_key, w);
    }
    /* The C library frees these after the last destructor. */
    if (strlen(strerror(98765)) == 0 || dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") != NULL)
        broken("strerror or dlsym");
    return NULL;
}

static void late(void)
{
    static bool made;
    unsigned waves = scaled(60);

    /* Its number is above that of any key that the allocator made; early_key's is below. */
    if (!made && pthread_key_create(&late_key, late_destructor) != 0)
        broken("pthread_key_create");
    made = true;
    for (wave = 0; wave < waves; wave++)
        team(STORM_TEAM, late_thread);
}

/* ---- blocks that others made grow and shrink ---- */

static void *resize_thread(void *arg)
{
    uint64_t random = random_of((unsigned)(uintptr_t)arg);
    unsigned n = scaled(4000);
    struct block b = {NULL, 0, 0};

    for (unsigned i = 0; i < n; i++) {
        if (b.at == NULL)
            b = block_get(&random, random_size(&random, 512));
        table_swap(random_below(&random, TABLE), &b);
        if (b.at == NULL)
            continue;
        switch (random_below(&random, 8)) {
        case 0:
            block_resize(&b, &random, random_size(&random, b.size)); /* shrinks */
            break;
        case 1:
            block_resize(&b, &random, random_size(&random, 2 * MIB)); /* anything */
            break;
        case 2:
            block_put(&b);
            break;
        default: /* grows, from the smallest to the largest */
            if (b.size < 2 * MIB)
                block_resize(&b, &random, b.size + 1 + random_below(&random, b.size));
            else
                block_put(&b);
        }
    }
    block_put(&b);
    return NULL;
}

static void resize(void)
{
    team(4, resize_thread);
}

/* ---- every size, and those about each step of a size class ---- */

enum { WINDOW = 24 };

static void one_size(uint64_t *random, struct block window[WINDOW], unsigned *at, size_t size)
{
    struct block *b = &window[(*at)++ % WINDOW];

    /* Every other one is somebody else's. */
    if (*at % 2 == 0 && size <= 64 * KIB)
        table_swap(random_below(random, TABLE), b);
    block_put(b);
    *b = block_get(random, size);
}

static void *sizes_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    uint64_t random = random_of(who);
    struct block window[WINDOW] = {{NULL, 0, 0}};
    unsigned at = 0;
    unsigned rounds = scaled(1);

    for (unsigned round = 0; round < rounds; round++) {
        for (size_t size = 1 + who; size <= 1100; size += 4)
            one_size(&random, window, &at, size);
        for (size_t power = KIB; power <= 8 * MIB; power *= 2) {
            for (size_t step = 0; step < 8; step++) {
                size_t size = power / 2 + power / 16 * (step + 1);

                one_size(&random, window, &at, size - 1 - who);
                one_size(&random, window, &at, size);
                if (size + 1 + who <= 8 * MIB)
                    one_size(&random, window, &at, size + 1 + who);
            }
        }
    }
    for (unsigned i = 0; i < WINDOW; i++)
        block_put(&window[i]);
    return NULL;
}

static void sizes(void)
{
    team(4, sizes_thread);
}

/* ---- blocks go around at random; and the same while one thread trims and asks ---- */

static atomic_uint going;

static void *around_thread(void *arg)
{
    uint64_t random = random_of((unsigned)(uintptr_t)arg);
    unsigned n = scaled(8000);
    struct block b = {NULL, 0, 0};

    for (unsigned i = 0; i < n; i++) {
        if (b.at != NULL && random_below(&random, 4) == 0)
            block_resize(&b, &random, random_size(&random, 64 * KIB));
        else if (b.at == NULL || random_below(&random, 2) == 0) {
            block_put(&b);
            b = block_get(&random, random_size(&random, i % 100 == 0 ? 8 * MIB : 64 * KIB));
        }
        table_swap(random_below(&random, TABLE), &b);
    }
    block_put(&b);
    atomic_fetch_sub(&going, 1);
    return NULL;
}

static void around(void)
{
    atomic_store(&going, 6);
    team(6, around_thread);
}

static void *trim_thread(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    uint64_t random = random_of(who);
    struct block b = {NULL, 0, 0};

    if (who > 0)
        return around_thread(arg);
    while (atomic_load(&going) > 0) {
        table_swap(random_below(&random, TABLE), &b);
        look_around(&b);
    }
    block_put(&b);
    return NULL;
}

static void trim(void)
{
    atomic_store(&going, 3);
    team(4, trim_thread);
}

void loads_open(void)
{
    if (pthread_key_create(&early_key, early_destructor) != 0)
        broken("pthread_key_create");
}

const struct load loads[] = {
    {"one-to-many", one_to_many},
    {"many-to-one", many_to_one},
    {"many-to-many", many_to_many},
    {"given", given},
    {"storm", storm},
    {"late", late},
    {"resize", resize},
    {"sizes", sizes},
    {"around", around},
    {"trim", trim},
};
const size_t load_count = sizeof(loads) / sizeof(loads[0]);
