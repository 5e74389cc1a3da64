/* own_malloc_opened.c LIBRARY - opens a library that carries a malloc of its own, and trades with
 * it through its functions, while everything else of the process keeps its malloc. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    static const int modes[] = {RTLD_NOW | RTLD_LOCAL, RTLD_NOW | RTLD_GLOBAL};
    for (int i = 0; i < 2; i++) {
        char *before = strdup("before");
        void *handle = dlopen(argc > 1 ? argv[1] : "", modes[i]);
        if (handle == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        int (*own_use)(void) = (int (*)(void))dlsym(handle, "own_use");
        void *(*own_make)(size_t) = (void *(*)(size_t))dlsym(handle, "own_make");
        void (*own_drop)(void *) = (void (*)(void *))dlsym(handle, "own_drop");
        if (before == NULL || own_use == NULL || own_make == NULL || own_drop == NULL)
            return 2;
        if (own_use() != 0)
            return 1;
        own_drop(own_make(100));
        free(before);
        before = malloc(5000);
        if (before == NULL)
            return 1;
        before = realloc(before, 50000);
        free(before);
        dlclose(handle);
    }
    puts("opened");
    return 0;
}
