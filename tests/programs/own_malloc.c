/* own_malloc.c - a program with a malloc of its own. The linker exports it, because libc refers to
 * it; so libc's own allocations come here too, and no preload may mix its blocks in. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) unsigned char pool[8 << 20];
static size_t used;
static unsigned long calls;

struct header {
    size_t size;
    size_t magic;
};
#define MAGIC 0x0ddba11u

static void die(const char *why)
{
    (void)!write(2, why, strlen(why));
    _exit(1);
}

static struct header *header_of(void *p)
{
    if ((unsigned char *)p < pool || (unsigned char *)p >= pool + sizeof(pool))
        die("own_malloc: a block of somebody else's\n");
    struct header *h = (struct header *)p - 1;
    if (h->magic != MAGIC)
        die("own_malloc: a bad header\n");
    return h;
}

void *malloc(size_t n)
{
    size_t whole = sizeof(struct header) + (n + 15) / 16 * 16;
    calls++;
    if (n > sizeof(pool) || used + whole > sizeof(pool)) {
        errno = ENOMEM;
        return NULL;
    }
    struct header *h = (struct header *)(void *)(pool + used);
    used += whole;
    h->size = n;
    h->magic = MAGIC;
    return h + 1;
}

void free(void *p)
{
    if (p != NULL)
        header_of(p);
}

void *calloc(size_t a, size_t b)
{
    return malloc(a * b); /* the pool is never used twice */
}

void *realloc(void *p, size_t n)
{
    void *q = malloc(n);
    if (p != NULL && q != NULL) {
        size_t old = header_of(p)->size;
        memcpy(q, p, old < n ? old : n);
    }
    return q;
}

int main(void)
{
    char *s = strdup("text");
    char *line = NULL;
    size_t size = 0;
    FILE *f = tmpfile();
    if (s == NULL || f == NULL || fputs("a line\n", f) < 0)
        return 2;
    rewind(f);
    if (getline(&line, &size, f) != 7)
        return 2;
    header_of(s);
    header_of(line);
    s = reallocarray(s, 10, 10); /* the C library's, which calls our realloc */
    header_of(s);
    free(s);
    free(line);
    fclose(f);
    char *cwd = getcwd(NULL, 0);
    free(cwd);
    setenv("OWN_MALLOC", "set", 1);
    printf("%s\n", calls > 3 ? "own malloc" : "not called");
    return calls <= 3;
}
