/* calls.c - the contract of single calls: sizes, alignment, contents, errors, errno. */
#include "contract.h"

static void case_sizes(void)
{
    FOR_EACH_SIZE(n)
    {
        void *p = malloc(hide(n));
        BLOCK(p, n, 16);
        void *q = n > 8 * MIB ? malloc(hide(n)) : calloc(1, hide(n));
        BLOCK(q, n, 16);
        CHECK2(p != q, n, 0);
        free(p);
        void *r = realloc(NULL, hide(n));
        BLOCK(r, n, 16);
        free(q);
        void *s = reallocarray(NULL, hide(n), 1);
        BLOCK(s, n, 16);
        free(s);
        free(r);
    }
}

static void case_zero_size(void)
{
    void *p[9];
    p[0] = malloc(hide(0));
    p[1] = malloc(hide(0));
    p[2] = calloc(hide(0), 5);
    p[3] = calloc(5, hide(0));
    p[4] = realloc(NULL, hide(0));
    p[5] = reallocarray(NULL, hide(0), 5);
    p[6] = memalign(64, hide(0));
    p[7] = valloc(hide(0));
    p[8] = pvalloc(hide(0));
    for (size_t i = 0; i < 9; i++) {
        CHECK2(p[i] != NULL, i, 0);
        for (size_t j = 0; j < i; j++)
            CHECK2(p[i] != p[j], i, j);
    }
    for (size_t i = 0; i < 9; i++)
        free(p[i]);
    void *q = NULL;
    CHECK(posix_memalign(&q, 64, hide(0)) == 0 && q != NULL && aligned_to(q, 64));
    free(q);
    q = aligned_alloc(256, hide(0));
    CHECK(q != NULL && aligned_to(q, 256));
    free(q);
    CHECK(malloc_usable_size(NULL) == 0);
    errno = 0;
    free(NULL);
    CHECK(errno == 0);
}

static void case_too_large(void)
{
    const size_t huge[] = {(size_t)PTRDIFF_MAX,
                           (size_t)PTRDIFF_MAX + 1,
                           (size_t)PTRDIFF_MAX - 4096,
                           SIZE_MAX - 65536,
                           SIZE_MAX - 4096,
                           SIZE_MAX - 15,
                           SIZE_MAX - 1,
                           SIZE_MAX};
#define FAILS(call)                                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK2(opaque(call) == NULL, i, 0);                                                        \
        CHECK2(errno == ENOMEM, i, errno);                                                         \
    } while (0)
    for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
        size_t n = hide(huge[i]);
        FAILS(malloc(n));
        FAILS(calloc(n, 1));
        FAILS(calloc(1, n));
        FAILS(realloc(NULL, n));
        FAILS(reallocarray(NULL, n, 1));
        FAILS(memalign(hide(64), n));
        FAILS(memalign(hide(1 * MIB), n));
        FAILS(aligned_alloc(hide(4096), n));
        FAILS(valloc(n));
        FAILS(pvalloc(n));
        void *p = &p;
        errno = 0;
        CHECK2(posix_memalign(&p, 64, n) == ENOMEM, i, 0);
        CHECK2(errno == ENOMEM, i, errno);
        CHECK2(p == (void *)&p, i, 0);
        for (size_t size = 9; size < 4 * MIB; size = size * 16 + 1) {
            char *block = malloc(size);
            MUST(block);
            memset(block, 'k', size);
            FAILS(realloc(opaque(block), n));
            FAILS(reallocarray(opaque(block), n, 1));
            CHECK2(block[0] == 'k' && block[size - 1] == 'k', i, size);
            free(block);
        }
    }
    /* A size that is legal but more than there is: either refused properly or usable. */
    errno = 0;
    void *p = malloc(hide((size_t)1 << 46));
    CHECK(p != NULL || errno == ENOMEM);
    free(p);
}

static void case_overflow(void)
{
    static const size_t pairs[][2] = {{SIZE_MAX, 2},
                                      {2, SIZE_MAX},
                                      {SIZE_MAX / 2 + 1, 2},
                                      {SIZE_MAX / 2 + 2, 2},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {((size_t)1 << 32) + 1, (size_t)1 << 32},
                                      {SIZE_MAX / 16 + 2, 16},
                                      {SIZE_MAX, SIZE_MAX},
                                      {SIZE_MAX / 3, 6},
                                      {(size_t)PTRDIFF_MAX / 8 + 1, 8}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        size_t a = hide(pairs[i][0]);
        size_t b = hide(pairs[i][1]);
        FAILS(calloc(a, b));
        FAILS(reallocarray(NULL, a, b));
        char *block = malloc(100);
        MUST(block);
        memset(block, 'k', 100);
        FAILS(reallocarray(opaque(block), a, b));
        CHECK2(block[0] == 'k' && block[99] == 'k', i, 0);
        free(block);
    }
}

static void case_alignment(void)
{
    for (size_t align = 1; align <= 64 * MIB; align *= 2) {
        const size_t sizes[] = {0,         1,         15,    100,       5000,      70000,
                                align / 2, align - 1, align, align + 1, 2 * align, 2 * align + 8,
                                4 * align};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t n = sizes[i];
            if (n > 8 * MIB && n != align)
                continue; /* large blocks take long to grow and say nothing new */
            void *p = memalign(hide(align), n);
            BLOCK(p, n, align);
            void *q = aligned_alloc(hide(align), n);
            BLOCK(q, n, align);
            CHECK2(p != q, align, n);
            void *r = NULL;
            int rc = posix_memalign(&r, hide(align), n);
            if (align >= sizeof(void *)) {
                CHECK2(rc == 0, align, n);
                BLOCK(r, n, align);
            } else {
                CHECK2(rc == EINVAL && r == NULL, align, n);
            }
            free(q);
            free(r);
            if (p != NULL && n >= 8 && n < 4 * MIB) {
                memcpy(p, "contents", 8);
                char *grown = realloc(p, n + n / 2 + 1);
                CHECK2(grown != NULL && memcmp(grown, "contents", 8) == 0, align, n);
                p = grown;
            }
            free(p);
        }
    }
    /* Many at once: neighbours must not overlap. */
    enum { COUNT = 300 };
    static unsigned char *block[COUNT];
    static size_t size[COUNT];
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < COUNT; i++) {
        size_t align = (size_t)16 << (next_random(&random) % 9);
        size[i] = next_random(&random) % 9000;
        block[i] = memalign(align, size[i]);
        BLOCK(block[i], size[i], align);
        MUST(block[i]);
        memset(block[i], (int)(i & 0xff), size[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < size[i]; j++)
            if (block[i][j] != (i & 0xff)) {
                CHECK2(!"overlap", i, j);
                break;
            }
        free(block[i]);
    }
}

static void case_bad_alignment(void)
{
    static const size_t bad[] = {0, 1, 2, 3, 4, 5, 7, 9, 12, 24, 40, 48, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        void *p = &p;
        errno = 77;
        CHECK2(posix_memalign(&p, hide(bad[i]), 64) == EINVAL, bad[i], 0);
        CHECK2(p == (void *)&p, bad[i], 0);
        CHECK2(errno == 77, bad[i], errno);
    }
    /* memalign rounds up to the next power of two. */
    static const size_t odd[][2] = {{0, 16},  {3, 16},      {17, 32},          {24, 32},
                                    {33, 64}, {5000, 8192}, {MIB + 1, 2 * MIB}};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        void *p = memalign(hide(odd[i][0]), 100);
        BLOCK(p, 100, odd[i][1]);
        free(p);
        /* aligned_alloc does the same before glibc 2.38 and refuses from then on. */
        errno = 0;
        p = aligned_alloc(hide(odd[i][0]), 100);
        CHECK2(p != NULL ? aligned_to(p, odd[i][1]) : errno == EINVAL, odd[i][0], errno);
        free(p);
    }
    static const size_t impossible[] = {SIZE_MAX, SIZE_MAX / 2 + 2, SIZE_MAX - 4095};
    for (size_t i = 0; i < 3; i++) {
        errno = 0;
        CHECK2(opaque(memalign(hide(impossible[i]), 64)) == NULL, i, 0);
        CHECK2(errno == EINVAL, i, errno);
    }
    errno = 0;
    CHECK(opaque(memalign(hide(SIZE_MAX / 2 + 1), 64)) == NULL);
    CHECK2(errno == ENOMEM, 0, errno);
    void *p = NULL;
    CHECK(posix_memalign(&p, hide(SIZE_MAX / 2 + 1), 64) == ENOMEM);
}

static void case_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t sizes[] = {1, 100, page - 1, page, page + 1, 10 * page + 1, 3 * MIB + 5};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i];
        void *v = valloc(hide(n));
        BLOCK(v, n, page);
        void *p = pvalloc(hide(n));
        BLOCK(p, (n + page - 1) / page * page, page);
        free(v);
        free(p);
    }
}

static void case_calloc_zeroes(void)
{
    for (int round = 0; round < 3; round++) {
        FOR_EACH_SIZE(n)
        {
            if (n > 2 * MIB)
                break;
            void *p = malloc(hide(n));
            void *q = malloc(hide(n));
            MUST(p && q);
            memset(p, 0xff, malloc_usable_size(p));
            memset(q, 0xff, malloc_usable_size(q));
            opaque(p);
            opaque(q);
            free(p);
            free(q);
            p = calloc(hide(n), 1);
            q = calloc(1, hide(n));
            MUST(p && q);
            CHECK2(all_zero(p, n) && all_zero(q, n), n, round);
            free(p);
            free(q);
            if (n > 128 * KIB && round > 0)
                break;
        }
    }
    for (size_t i = 1; i < 200; i++) {
        unsigned char *p = calloc(i, 17);
        MUST(p);
        CHECK2(all_zero(p, i * 17), i, 17);
        memset(p, 0xff, i * 17);
        free(opaque(p));
    }
}

static void case_realloc_corners(void)
{
    void *p = realloc(NULL, hide(100));
    BLOCK(p, 100, 16);
    CHECK(realloc(p, hide(0)) == NULL);
    p = malloc(100);
    CHECK(reallocarray(p, hide(0), 8) == NULL);
    p = malloc(100);
    CHECK(reallocarray(p, 8, hide(0)) == NULL);

    static const size_t steps[] = {1,     7,       16,        17,        100,
                                   1000,  1024,    1025,      4096,      65535,
                                   65536, 65537,   128 * KIB, 256 * KIB, 256 * KIB + 1,
                                   MIB,   MIB + 1, 3 * MIB,   20 * MIB,  33 * MIB};
    const size_t count = sizeof(steps) / sizeof(steps[0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            size_t from = steps[i];
            size_t to = steps[j];
            size_t keep = from < to ? from : to;
            size_t stride = keep < MIB ? 61 : 65599;
            unsigned char *a = malloc(from);
            MUST(a);
            for (size_t k = 0; k < from; k += stride)
                a[k] = (unsigned char)(k * 31 + from);
            a[from - 1] = 0x77;
            unsigned char *b = realloc(opaque(a), hide(to));
            BLOCK(b, 0, 16);
            MUST(b);
            CHECK2(malloc_usable_size(b) >= to, from, to);
            for (size_t k = 0; k < keep; k += stride) {
                unsigned char want = k == from - 1 ? 0x77 : (unsigned char)(k * 31 + from);
                if (b[k] != want) {
                    CHECK2(!"contents kept", from, to);
                    break;
                }
            }
            if (to >= from)
                CHECK2(b[from - 1] == 0x77, from, to);
            b[to - 1] = 1;
            free(b);
        }
    }
}

static void case_realloc_walk(void)
{
    uint64_t random = 0x9e3779b97f4a7c15u;
    struct tagged *t = malloc(100);
    MUST(t);
    tag_fill(t, 100, 1);
    for (uint64_t round = 0; round < 20000; round++) {
        size_t old = t->size;
        size_t size = random_size(&random);
        if (round % 50 == 0)
            size += (size_t)(next_random(&random) % (3 * MIB));
        size_t keep = old < size ? old : size;
        struct tagged *grown = realloc(t, size);
        MUST(grown);
        t = grown;
        CHECK2(tag_ok(t, keep), old, size);
        CHECK2(aligned_to(t, least_align), old, size);
        tag_fill(t, size, round);
    }
    free(t);
}

static void case_usable_size(void)
{
    enum { COUNT = 2000 };
    static unsigned char *block[COUNT];
    static size_t usable[COUNT];
    uint64_t random = 4711;
    for (size_t i = 0; i < COUNT; i++) {
        size_t n = next_random(&random) % (i % 20 == 0 ? 200000 : 2000);
        block[i] = malloc(n);
        MUST(block[i]);
        usable[i] = malloc_usable_size(block[i]);
        CHECK2(usable[i] >= n, usable[i], n);
        memset(block[i], (int)(i % 251), usable[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK2(malloc_usable_size(block[i]) == usable[i], i, usable[i]);
        for (size_t j = 0; j < usable[i]; j++)
            if (block[i][j] != i % 251) {
                CHECK2(!"usable bytes are the block's own", i, j);
                break;
            }
    }
    for (size_t i = 0; i < COUNT; i++)
        free(block[i]);
}

static void *symbol(const char *name)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    const char *full = getenv("CONTRACT_FULL_FAMILY");
    if (p == NULL && full != NULL && *full == '1')
        CHECK2(!"entry point exists", name[0], name[1]);
    return p;
}

static void case_sized_free(void)
{
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))symbol("free_sized");
    void (*free_aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))symbol("free_aligned_sized");
    void (*cfree)(void *) = (void (*)(void *))symbol("cfree");
    FOR_EACH_SIZE(n)
    {
        if (n > 2 * MIB)
            break;
        if (free_sized != NULL) {
            free_sized(opaque(malloc(n)), n);
            free_sized(opaque(calloc(1, n)), n);
        }
        if (free_aligned_sized != NULL && n % 128 == 0 && n > 0)
            free_aligned_sized(opaque(aligned_alloc(128, n)), 128, n);
        if (cfree != NULL)
            cfree(opaque(malloc(n)));
    }
    errno = 1234;
    if (free_sized != NULL)
        free_sized(NULL, 0);
    if (free_aligned_sized != NULL)
        free_aligned_sized(NULL, 16, 0);
    if (cfree != NULL)
        cfree(NULL);
    CHECK(errno == 1234);
}

static bool past_stats;

static void *cancelled_stats(void *arg)
{
    (void)arg;
    pthread_cancel(pthread_self());
    malloc_stats();
    past_stats = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    return &past_stats;
}

/* Some 20 MB that do not stay. */
static void free_many_equal(void)
{
    static void *p[20000];

    for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
        p[i] = malloc(1000);
    for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
        free(p[i]);
}

static void case_statistics_calls(void)
{
    void *p = malloc(100000);
    MUST(p);
    CHECK(mallopt(M_TRIM_THRESHOLD, 256 * 1024) == 1);
    CHECK(mallopt(M_MMAP_THRESHOLD, 256 * 1024) == 1);
    CHECK(mallopt(M_ARENA_MAX, 4) == 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo old = mallinfo();
#pragma GCC diagnostic pop
    CHECK(old.uordblks >= 0 || old.arena != 0);
    struct mallinfo2 info = mallinfo2();
    CHECK(info.uordblks <= (size_t)PTRDIFF_MAX);
    CHECK2(info.arena >= info.uordblks, info.arena, info.uordblks);
    free_many_equal();
    struct mallinfo2 after = mallinfo2();
    CHECK2(after.uordblks < info.uordblks + (1 << 20), after.uordblks, info.uordblks);
    int trimmed = malloc_trim(0);
    CHECK2(trimmed == 0 || trimmed == 1, trimmed, 0);

    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    MUST(f);
    CHECK(malloc_info(0, f) == 0);
    fclose(f);
    CHECK2(len > 10 && strstr(text, "<malloc") != NULL && strstr(text, "</malloc>") != NULL, len,
           0);
    free(text);
    CHECK(malloc_info(1, stderr) == EINVAL);

    /* malloc_stats writes to stderr; here that is a file. */
    FILE *out = tmpfile();
    MUST(out);
    int saved = dup(2);
    MUST(saved >= 0 && dup2(fileno(out), 2) == 2);
    malloc_stats();
    CHECK(lseek(fileno(out), 0, SEEK_END) > 0);
    /* It is no cancellation point. */
    pthread_t thread;
    void *result = NULL;
    MUST(pthread_create(&thread, NULL, cancelled_stats, NULL) == 0);
    MUST(pthread_join(thread, &result) == 0);
    CHECK(result == &past_stats && past_stats);
    MUST(dup2(saved, 2) == 2);
    close(saved);
    fclose(out);
    free(p);
}

static void free_keeps_errno(void)
{
    FOR_EACH_SIZE(n)
    {
        void *p = malloc(n);
        void *q = memalign(256, n);
        MUST(p && q);
        errno = 1234;
        free(p);
        CHECK2(errno == 1234, n, errno);
        errno = 0;
        free(q);
        CHECK2(errno == 0, n, errno);
    }
    errno = 1234;
    free(NULL);
    CHECK(errno == 1234);
}

static void *free_keeps_errno_thread(void *arg)
{
    /* The very first call of a thread may have to set the thread up. */
    errno = 1234;
    free(arg);
    CHECK2(errno == 1234, 0, errno);
    free_keeps_errno();
    return NULL;
}

static void case_free_errno(void)
{
    free_keeps_errno();
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        MUST(pthread_create(&t[i], NULL, free_keeps_errno_thread, malloc(300000)) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
}

/* With no mapping left to the process, munmap inside a mapping fails with ENOMEM, in free too. */
static void case_free_errno_maps(void)
{
    enum { COUNT = 400 };
    static void *block[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        block[i] = i % 4 == 0 ? memalign(64 * KIB, 300 * KIB) : malloc((i % 7 + 1) * 200 * KIB);
        MUST(block[i]);
        touch(block[i], 1);
    }
    const size_t page = 4096;
    const size_t pages = 200000;
    char *area =
        mmap(NULL, pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MUST(area != MAP_FAILED);
    size_t i = 1;
    while (i < pages && mprotect(area + i * page, page, PROT_READ) == 0)
        i += 2;
    bool full = i < pages; /* else the limit is higher than it is worth waiting for */
    for (size_t step = 0; step < 2; step++) {
        for (size_t j = 1 - step; j < COUNT; j += 2) {
            errno = 1234;
            free(block[j]);
            CHECK2(errno == 1234, j, errno);
        }
    }
    munmap(area, pages * page);
    if (!full)
        _exit(77);
    BLOCK(block[0] = malloc(300 * KIB), 300 * KIB, 16);
    free(block[0]);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_memalign(size_t, size_t);

static void case_foreign_pointers(void)
{
    free(__libc_malloc(9));
    for (size_t n = 1; n < 4 * MIB; n = n * 3 + 1) {
        free(__libc_malloc(n));
        free(__libc_memalign(4096, n));
        char *p = __libc_calloc(n, 1);
        MUST(p);
        CHECK2(malloc_usable_size(p) >= n, n, 0);
        memset(p, 'f', n);
        p = realloc(opaque(p), 2 * n + 100);
        MUST(p);
        CHECK2(p[0] == 'f' && p[n - 1] == 'f', n, 0);
        free(p);
        CHECK(realloc(__libc_malloc(n), hide(0)) == NULL);
    }
    /* What libc itself allocates for its callers. */
    free(strdup("text"));
    free(getcwd(NULL, 0));
    free(realpath("/", NULL));
    char *line = NULL;
    if (asprintf(&line, "%d", 12345) > 0)
        CHECK(strcmp(line, "12345") == 0);
    free(line);
}

const struct contract_case contract_calls[] = {
    {"sizes", case_sizes},
    {"zero-size", case_zero_size},
    {"too-large", case_too_large},
    {"overflow", case_overflow},
    {"alignment", case_alignment},
    {"bad-alignment", case_bad_alignment},
    {"pages", case_pages},
    {"calloc-zeroes", case_calloc_zeroes},
    {"realloc-corners", case_realloc_corners},
    {"realloc-walk", case_realloc_walk},
    {"usable-size", case_usable_size},
    {"sized-free", case_sized_free},
    {"statistics-calls", case_statistics_calls},
    {"free-errno", case_free_errno},
    {"free-errno-maps", case_free_errno_maps},
    {"foreign-pointers", case_foreign_pointers},
    {NULL, NULL},
};
