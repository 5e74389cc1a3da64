/* cxx_opened.c LIBRARY - a C program that opens a C++ library: only now libstdc++ comes in, and the
 * library's operators are looked up in a process that is already running. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    void *handle = dlopen(argc > 1 ? argv[1] : "", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    void *(*make)(void) = (void *(*)(void))dlsym(handle, "cxx_make");
    int (*use)(void *) = (int (*)(void *))dlsym(handle, "cxx_use");
    char *(*text)(void) = (char *(*)(void))dlsym(handle, "cxx_new_text");
    if (make == NULL || use == NULL || text == NULL)
        return 2;
    for (int i = 0; i < 100; i++) {
        if (use(make()) != 1000)
            return 1;
        free(text()); /* new there, free here */
    }
    puts("done");
    return 0;
}
