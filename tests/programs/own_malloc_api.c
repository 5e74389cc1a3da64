/* own_malloc_api.c - a program with a malloc of its own that uses the C interface where it is
 * there: blocks of the interface go back through the interface, and the two do not mix. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xsigma.h>

#pragma weak xsigma_alloc
#pragma weak xsigma_realloc
#pragma weak xsigma_free
#pragma weak xsigma_alloc_batch
#pragma weak xsigma_free_batch
#pragma weak xsigma_trim

static _Alignas(16) unsigned char pool[8 << 20];
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
    return malloc(a * b); /* the pool is never used twice */
}

void *realloc(void *p, size_t n)
{
    void *q = malloc(n);
    if (p != NULL && q != NULL)
        memmove(q, p, n);
    return q;
}

/* What programs with an aligned malloc of their own have, and a wrong call would end up in. */
void *aligned_alloc(size_t align, size_t n)
{
    used = (used + align - 1) & ~(align - 1);
    return malloc(n);
}

static int holds(const unsigned char *p, size_t n, int value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return 0;
    return 1;
}

static int use_interface(void)
{
    static const size_t aligns[] = {0, 64, 4096};
    for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++) {
        struct xsigma_attr attr = XSIGMA_ATTR_INIT;
        void *p = NULL;
        attr.alignment = aligns[i];
        if (xsigma_alloc(&p, 100, &attr) != 0)
            continue; /* it may refuse, but not fail */
        if (p == NULL || (aligns[i] != 0 && (uintptr_t)p % aligns[i] != 0))
            return 2;
        memset(p, 'a', 100);
        if (xsigma_realloc(&p, 100000, &attr) != 0 || !holds(p, 100, 'a'))
            return 3;
        memset(p, 'b', 100000);
        xsigma_free(p);
    }
    void *p = NULL;
    if (xsigma_alloc(&p, 100, NULL) == 0) {
        memset(p, 'c', 100);
        if (xsigma_realloc(&p, 100000, NULL) != 0 || !holds(p, 100, 'c'))
            return 4;
        xsigma_free(p);
    }
    void *batch[10];
    if (xsigma_alloc_batch(batch, 10, 50, NULL) == 0) {
        for (int i = 0; i < 10; i++)
            memset(batch[i], i, 50);
        for (int i = 0; i < 10; i++)
            if (!holds(batch[i], 50, i))
                return 5;
        xsigma_free_batch(batch, 10);
    }
    xsigma_trim(0);
    return 0;
}

int main(void)
{
    char *own = strdup("text");
    size_t before = used;
    int rc = xsigma_alloc != NULL ? use_interface() : 0;
    /* The interface's blocks came from its own memory, and ours is whole. */
    if (rc == 0 && (used != before || strangers != 0))
        rc = 6;
    if (rc == 0 && strcmp(own, "text") != 0)
        rc = 7;
    free(own);
    puts(rc == 0 ? "own malloc" : "mixed up");
    return rc;
}
