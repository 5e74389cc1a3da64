/* Functions of the CUDA driver by their names, as a program finds them that is not linked to it. */
#ifndef XS_TESTS_CUDA_LOOK_UP_H
#define XS_TESTS_CUDA_LOOK_UP_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *look_up(const char *name)
{
    static void *library;

    if (library == NULL)
        library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *p = library != NULL ? dlsym(library, name) : NULL;
    if (p == NULL) {
        printf("no %s\n", name);
        exit(1);
    }
    return p;
}
#define CU(symbol) ((__typeof__(&symbol))look_up(#symbol))

#endif
