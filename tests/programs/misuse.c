/* misuse CASE - misuses its heap in one way, and prints "survived" if nothing stops it. The block
 * of interest is made by allocate_here and freed by free_here. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <malloc.h>

void free_sized(void *p, size_t size) __attribute__((weak));

static void *opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

__attribute__((noinline)) static char *allocate_here(size_t size)
{
    return opaque(malloc(size));
}

__attribute__((noinline)) static void free_here(void *p)
{
    free(opaque(p));
    __asm__ volatile("");
}

__attribute__((noinline)) static void misuse_here(void *p)
{
    free(opaque(p));
    __asm__ volatile("");
}

static char data[64] __attribute__((aligned(16)));
static size_t block = 100;

/* To `size`, in steps; what it holds must come along. */
static char *grow(char *p, size_t from, size_t size, size_t step)
{
    for (size_t i = 0; i < from; i++)
        p[i] = (char)(i % 251);
    for (size_t now = from; now < size; now += step) {
        p = opaque(realloc(p, now + step));
        for (size_t i = now; i < now + step; i++)
            p[i] = (char)(i % 251);
    }
    for (size_t i = 0; i < size; i++)
        if (p[i] != (char)(i % 251))
            abort();
    return p;
}

static void none(void)
{
    static const size_t steps[] = {16, 100, 4096, 5000, 8192};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        free_here(grow(allocate_here(40000), 40000, 400000, steps[i]));
        free_here(grow(allocate_here(40960), 40960, 400000, steps[i]));
    }
    for (int i = 0; i < 1000; i++)
        free_here(allocate_here((size_t)i));
    char *p = realloc(allocate_here(100), 200000);
    free_here(realloc(p, 10));
    p = allocate_here(block);
    memset(p, 1, malloc_usable_size(p));
    free_sized(p, block);
}

static void pairs(void)
{
    for (int i = 0; i < 20000; i++)
        free_here(allocate_here(block));
}

static void double_free(void)
{
    char *p = allocate_here(block);
    free_here(p);
    misuse_here(p);
}

static void *free_in_thread(void *p)
{
    free_here(p);
    return NULL;
}

static void double_free_of_thread(void)
{
    pthread_t t;
    char *p = allocate_here(block);
    pthread_create(&t, NULL, free_in_thread, p);
    pthread_join(t, NULL);
    misuse_here(p);
}

static void double_realloc(void)
{
    char *p = allocate_here(block);
    free_here(p);
    free(opaque(realloc(p, block * 3)));
}

static void usable_size_of_freed(void)
{
    char *p = allocate_here(block);
    free_here(p);
    printf("%zu\n", malloc_usable_size(p));
}

static void interior(void)
{
    misuse_here(allocate_here(block) + block / 2 / 16 * 16);
}

static void interior_page(void)
{
    misuse_here(allocate_here(200000) + 3 * 4096 + 16);
}

static void odd(void)
{
    misuse_here(allocate_here(block) + 1);
}

static void stack(void)
{
    char there[64] __attribute__((aligned(16)));
    misuse_here(opaque(there));
}

static void static_data(void)
{
    misuse_here(data + 16);
}

static void mapped(void)
{
    misuse_here(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void write_at(ptrdiff_t at)
{
    char *p = allocate_here(block);
    *(char *)opaque(p + at) ^= 0x55;
    misuse_here(p);
}

static void overflow(void)
{
    write_at((ptrdiff_t)block);
}

static void overflow_by_seven(void)
{
    write_at((ptrdiff_t)block + 7);
}

/* Of many, so that some lie side by side. */
static void underflow(void)
{
    char *p[64];
    for (int i = 0; i < 64; i++)
        p[i] = allocate_here(block);
    /* What lies before a page may be nobody's: then the processor sees the write. */
    for (int i = 0; i < 64; i++)
        if ((uintptr_t)p[i] % 4096 != 0)
            *(char *)opaque(p[i] - 1) ^= 0x55;
    for (int i = 0; i < 64; i++)
        misuse_here(p[i]);
}

__attribute__((noinline)) static void read_at(const char *p)
{
    volatile char c = *(char *)opaque((void *)(size_t)p);
    (void)c;
}

/* Of two blocks, as a sampled one has its page that nobody may touch behind or before it. */
static void read_beyond(void)
{
    for (int i = 0; i < 2; i++)
        read_at(allocate_here(block / 16 * 16) + block / 16 * 16);
}

static void read_before(void)
{
    for (int i = 0; i < 2; i++)
        read_at(allocate_here(block) - 1);
}

/* Not where the page begins: before that is the one that nobody may touch. */
static void write_before(void)
{
    char *p;
    do
        p = allocate_here(block);
    while ((uintptr_t)p % 4096 == 0);
    *(char *)opaque(p - 1) ^= 0x55;
    misuse_here(p);
}

static void churn(void)
{
    for (int i = 0; i < 100000; i++)
        free(opaque(malloc(1000)));
}

static void write_after_free(void)
{
    char *p = allocate_here(block);
    free_here(p);
    *(char *)opaque(p + 40) = 1;
    churn();
}

/* Nobody wants its memory until the end. */
static void late_write(void)
{
    char *p = allocate_here(block);
    free_here(p);
    *(char *)opaque(p + 40) = 1;
}

static void read_after_free(void)
{
    char *p = allocate_here(block);
    free_here(p);
    volatile char c = *(char *)opaque(p + 40);
    (void)c;
    churn();
}

/* Freed blocks beyond the few that a magazine holds hang in a list through their first words. */
/* Where the block grew by small steps, its end is somewhere in a page. */
static void grown_overflow(void)
{
    char *p = grow(allocate_here(40000), 40000, 50000, 100);

    p[50000] = 1;
    misuse_here(p);
}

__attribute__((noinline)) static void grown_beyond(void)
{
    char *p = grow(allocate_here(40000), 40000, 50000, 100);

    *(volatile char *)(p + 50000 + 4096) = 1;
}

__attribute__((noinline)) static void grown_stale(void)
{
    char *p = grow(allocate_here(40000), 40000, 50000, 100);
    char *q = grow(p, 50000, 100000, 100);

    if (q != p)
        *(volatile char *)(p + 100) = 1;
}

static void broken_list(void)
{
    void **p[200];
    for (int i = 0; i < 200; i++)
        p[i] = opaque(malloc(64));
    for (int i = 0; i < 200; i++)
        free(p[i]);
    for (int i = 0; i < 200; i++)
        *(void **)opaque(p[i]) = data;
    for (int i = 0; i < 200; i++)
        p[i] = opaque(malloc(64));
}

static void wrong_size(void)
{
    free_sized(allocate_here(block), block - 1);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"none", none},
    {"double-free", double_free},
    {"double-free-of-thread", double_free_of_thread},
    {"realloc-of-freed", double_realloc},
    {"usable-size-of-freed", usable_size_of_freed},
    {"interior", interior},
    {"interior-page", interior_page},
    {"odd", odd},
    {"stack", stack},
    {"static", static_data},
    {"mapped", mapped},
    {"overflow", overflow},
    {"overflow-by-seven", overflow_by_seven},
    {"underflow", underflow},
    {"pairs", pairs},
    {"read-beyond", read_beyond},
    {"read-before", read_before},
    {"write-before", write_before},
    {"write-after-free", write_after_free},
    {"late-write", late_write},
    {"read-after-free", read_after_free},
    {"grown-overflow", grown_overflow},
    {"grown-beyond", grown_beyond},
    {"grown-stale", grown_stale},
    {"broken-list", broken_list},
    {"wrong-size", wrong_size},
};

int main(int argc, char **argv)
{
    if (argc > 2)
        block = strtoul(argv[2], NULL, 10);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (argc > 1 && strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            puts("survived");
            return 0;
        }
    }
    return 2;
}
