/* own_malloc_hidden.c - a program whose malloc is hidden: its own calls go to its pool, and libc's
 * go to whatever malloc the process has. It knows its blocks from libc's by their address. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) unsigned char pool[1 << 20];
static size_t used;
static unsigned long calls;

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN void *malloc(size_t n);
HIDDEN void free(void *p);

static int mine(const void *p)
{
    return (const unsigned char *)p >= pool && (const unsigned char *)p < pool + sizeof(pool);
}

void *malloc(size_t n)
{
    void *p = pool + used;
    calls++;
    used += (n + 15) / 16 * 16;
    return used > sizeof(pool) ? NULL : p;
}

void free(void *p)
{
    if (p != NULL && !mine(p)) {
        (void)!write(2, "own_malloc_hidden: a block of somebody else's\n", 46);
        _exit(1);
    }
}

int main(void)
{
    for (int i = 0; i < 100; i++) {
        char *p = malloc(1000);
        if (!mine(p))
            return 1;
        memset(p, 1, 1000);
        __asm__ volatile("" : "+r"(p)); /* the compiler would warn that this is no heap object */
        free(p);
    }
    char *s = strdup("libc's block");
    if (s == NULL || mine(s))
        return 1;
    FILE *f = tmpfile();
    fprintf(f, "%s\n", s);
    fclose(f);
    printf("%s\n", calls == 100 ? "hidden malloc" : "wrong count");
    return 0;
}
