/* libdeep.c - the library that deepbind.c opens: malloc as it sees it. */
#include <stdlib.h>
#include <string.h>

void *deep_malloc(size_t n);
void *deep_realloc(void *p, size_t n);
char *deep_strdup(const char *s);
void deep_free(void *p);

void *deep_malloc(size_t n)
{
    return malloc(n);
}

void *deep_realloc(void *p, size_t n)
{
    return realloc(p, n);
}

char *deep_strdup(const char *s)
{
    return strdup(s);
}

void deep_free(void *p)
{
    free(p);
}
