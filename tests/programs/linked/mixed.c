/* mixed.c - linked with libmixed.c: blocks of malloc given to its calls, and the other way about.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *mallocx(size_t size, int flags);
void dallocx(void *p, int flags);

int main(void)
{
    void *p = mallocx(100, 0);
    size_t usable = malloc_usable_size(p);
    void *q = strdup("a block of malloc's");
    free(p);
    p = realloc(mallocx(10, 0), 50);
    free(p);
    dallocx(q, 0);
    printf("%zu\n", usable);
    return 0;
}
