/* free_at_end.c LIBRARY - opens a library whose destructor frees, which runs after those of a
 * preload. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (dlopen(argc > 1 ? argv[1] : "", RTLD_NOW) != NULL)
        return 0;
    fprintf(stderr, "%s\n", dlerror());
    return 2;
}
