/* thread_ends.c N - N threads, one after the other, each of which makes glibc keep buffers that it
 * frees only after the thread's last destructor (strerror, dlerror). */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *thread(void *arg)
{
    volatile size_t len = strlen(strerror(98765));
    (void)len;
    if (dlsym(RTLD_DEFAULT, "no_such_symbol_anywhere") == NULL)
        (void)dlerror();
    free(malloc(1000));
    return arg;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 10;
    for (int i = 0; i < n; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, thread, NULL) != 0)
            return 1;
        pthread_join(t, NULL);
    }
    return 0;
}
