/* cuda_look_up.c - cuda_look_up COUNT NAME: looks the name up so often, in the C library. */
#include <dlfcn.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    void *handle = dlopen("libc.so.6", RTLD_LAZY);
    void *last = NULL;
    for (long n = argc > 2 ? atol(argv[1]) : 0; n > 0; n--)
        last = dlsym(handle, argv[2]);
    return argc > 2 && last == NULL;
}
