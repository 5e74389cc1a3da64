/* libown_malloc.c - a library with a malloc of its own, bound to itself (protected visibility). */
#include <stddef.h>
#include <string.h>

#define PROTECTED __attribute__((visibility("protected")))
PROTECTED void *malloc(size_t n);
PROTECTED void free(void *p);
PROTECTED void *calloc(size_t a, size_t b);
PROTECTED void *realloc(void *p, size_t n);
int own_use(void);
void *own_make(size_t n);
void own_drop(void *p);

static _Alignas(16) unsigned char pool[1 << 20];
static size_t used;
static int strangers;

void *malloc(size_t n)
{
    size_t whole = (n + 31) / 16 * 16;
    if (n > sizeof(pool) || used + whole > sizeof(pool))
        return NULL;
    void *p = pool + used;
    used += whole;
    return p;
}

void free(void *p)
{
    if (p != NULL && ((unsigned char *)p < pool || (unsigned char *)p >= pool + sizeof(pool)))
        strangers++;
}

void *calloc(size_t a, size_t b)
{
    return malloc(a * b);
}

void *realloc(void *p, size_t n)
{
    void *q = malloc(n);
    if (p != NULL && q != NULL)
        memmove(q, p, n);
    return q;
}

int own_use(void)
{
    for (size_t i = 1; i < 200; i++) {
        char *p = malloc(i);
        if (p == NULL)
            return 1;
        memset(p, 1, i);
        free(p);
    }
    return strangers;
}

void *own_make(size_t n)
{
    return malloc(n);
}

void own_drop(void *p)
{
    free(p);
}
