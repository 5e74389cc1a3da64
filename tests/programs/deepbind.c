/* deepbind.c LIBRARY - trades blocks with a library opened with RTLD_DEEPBIND, which looks its
 * malloc up in itself and its dependencies first, so in libc before any preload. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    void *handle = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    void *(*deep_malloc)(size_t) = (void *(*)(size_t))dlsym(handle, "deep_malloc");
    void *(*deep_realloc)(void *, size_t) =
        (void *(*)(void *, size_t))dlsym(handle, "deep_realloc");
    char *(*deep_strdup)(const char *) = (char *(*)(const char *))dlsym(handle, "deep_strdup");
    void (*deep_free)(void *) = (void (*)(void *))dlsym(handle, "deep_free");
    if (!deep_malloc || !deep_realloc || !deep_strdup || !deep_free)
        return 2;
    for (size_t n = 1; n < 4000000; n = n * 5 / 2 + 1) {
        deep_free(malloc(n)); /* ours, freed there */
        free(deep_malloc(n)); /* theirs, freed here */
        char *p = malloc(n);  /* ours, grown there, freed here */
        if (p == NULL)
            return 1;
        memset(p, 'd', n);
        p = deep_realloc(p, 2 * n);
        if (p == NULL || p[0] != 'd' || p[n - 1] != 'd')
            return 1;
        free(p);
        p = deep_malloc(n); /* theirs, grown here, freed there */
        if (p == NULL)
            return 1;
        memset(p, 'e', n);
        p = realloc(p, 2 * n);
        if (p == NULL || p[0] != 'e' || p[n - 1] != 'e')
            return 1;
        deep_free(p);
        free(deep_strdup("text"));
        deep_free(strdup("text"));
    }
    puts("done");
    return 0;
}
