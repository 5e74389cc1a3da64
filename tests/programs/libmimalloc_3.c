/* libmimalloc_3.c - stands in for mimalloc 3 where there is none: keeps to the ranges that it is
 * given, wants none above 16 GiB, and has no block that does not fit 32 MiB or is aligned to more
 * than 64 KiB. MIMALLOC_AS is the version that it says it has. */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RANGES = 160, CLASSES = 26, HEADER = 32, SMALLEST = 64 };
#define RANGE_MAX ((size_t)16 << 30)
#define ALIGN_MAX ((size_t)64 << 10)

static struct {
    char *at;
    char *end;
} range[RANGES];
static unsigned ranges;
static void *freed[CLASSES];
static void (*handler)(int error, void *arg);
static void *handler_arg;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int mi_version(void)
{
    const char *text = getenv("MIMALLOC_AS");
    return text != NULL ? atoi(text) : 30403;
}

void mi_option_set(int option, long value)
{
    (void)option, (void)value;
}

void mi_collect(bool force)
{
    (void)force;
}

void mi_register_error(void (*function)(int error, void *arg), void *arg)
{
    handler = function;
    handler_arg = arg;
}

bool mi_manage_os_memory(void *start, size_t size, bool committed, bool large, bool zero, int node)
{
    (void)large, (void)zero, (void)node;
    if (size > RANGE_MAX || (uintptr_t)start % (1 << 16) != 0)
        return false;
    pthread_mutex_lock(&lock);
    bool has_room = ranges < RANGES;
    if (has_room && !committed)
        has_room = mprotect(start, size, PROT_READ | PROT_WRITE) == 0;
    if (has_room) {
        range[ranges].at = start;
        range[ranges++].end = (char *)start + size;
    }
    pthread_mutex_unlock(&lock);
    return has_room;
}

/* A piece of 64 << c bytes. */
static char *piece(unsigned c)
{
    size_t size = (size_t)SMALLEST << c;
    char *p = NULL;

    pthread_mutex_lock(&lock);
    if (freed[c] != NULL) {
        p = freed[c];
        freed[c] = *(void **)p;
    }
    for (unsigned i = ranges; p == NULL && i-- > 0;) {
        if ((size_t)(range[i].end - range[i].at) < size)
            continue;
        p = range[i].at;
        range[i].at += size;
    }
    pthread_mutex_unlock(&lock);
    return p;
}

void *mi_malloc_aligned(size_t size, size_t align)
{
    unsigned c = 0;
    char *p = NULL;

    align = align < 16 ? 16 : align;
    if (size <= (size_t)32 << 20 && align <= ALIGN_MAX) {
        while (((size_t)SMALLEST << c) < size + align + HEADER)
            c++;
        p = (size_t)SMALLEST << c <= (size_t)32 << 20 ? piece(c) : NULL;
    }
    if (p == NULL) {
        if (handler != NULL)
            handler(ENOMEM, handler_arg);
        return NULL;
    }
    char *block = (char *)(((uintptr_t)p + HEADER + align - 1) & ~(align - 1));
    ((void **)block)[-1] = p;
    ((uintptr_t *)block)[-2] = c;
    return block;
}

void *mi_malloc(size_t size)
{
    return mi_malloc_aligned(size, 16);
}

size_t mi_usable_size(const void *block)
{
    const char *p = ((void *const *)block)[-1];
    return (size_t)(p + ((size_t)SMALLEST << ((const uintptr_t *)block)[-2]) - (const char *)block);
}

void mi_free(void *block)
{
    if (block == NULL)
        return;
    void **p = ((void **)block)[-1];
    uintptr_t c = ((uintptr_t *)block)[-2];
    pthread_mutex_lock(&lock);
    *p = freed[c];
    freed[c] = p;
    pthread_mutex_unlock(&lock);
}

void *mi_zalloc(size_t size)
{
    void *p = mi_malloc(size);
    return p != NULL ? memset(p, 0, size) : NULL;
}

void *mi_realloc(void *block, size_t size)
{
    void *p = block != NULL && size <= mi_usable_size(block) ? block : mi_malloc(size);

    if (p != NULL && block != NULL && p != block) {
        memcpy(p, block, mi_usable_size(block));
        mi_free(block);
    }
    return p;
}
