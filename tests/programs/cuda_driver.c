/* cuda_driver.c - whether a driver library knows the calls that we speak of as we do: what it
 * answers when a name is asked for with the version that brought a form of it, and with the one
 * before.
 *
 * cuda_driver LIBRARY: one line for each difference; last "VERSION: N calls, M differences". No GPU
 * is needed. A driver without cuGetProcAddress (before CUDA 11.3) is only asked for symbols. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "../../cuda_shim/hooks.h"

struct call {
    const char *name;
    int version;
    int per_thread;
    const char *symbol;
};

static const struct call calls[] = {
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    {#name, version, per_thread, #symbol},
#include "sys/cuda_calls.h"
#undef XS_CUDA_CALL
#define X(name, version, per_thread, symbol) {#name, version, per_thread, #symbol},
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    {#name, version, 0, #symbol}, {#name, XS_HOOK_THREAD_VERSION(version), 1, #symbol "_ptsz"},
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) {#name, version, 0, #symbol},
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) {#name, version, 1, #symbol "_ptds"},
                XS_HOOK_THREADS(X)
#undef X
};

typedef CUresult get_proc_address(const char *, void **, int, uint64_t);

static unsigned differences;

__attribute__((format(printf, 1, 2))) static void differs(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    differences++;
}

static void *ask(get_proc_address *get, const struct call *c, int version)
{
    void *p = NULL;
    uint64_t flags = c->per_thread ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
                                   : CU_GET_PROC_ADDRESS_LEGACY_STREAM;

    return get(c->name, &p, version, flags) == CUDA_SUCCESS ? p : NULL;
}

int main(int argc, char **argv)
{
    void *driver = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    CUresult (*get_version)(int *);
    int version = 0;
    unsigned n = 0;

    if (driver == NULL) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: cuda_driver LIBRARY");
        return 2;
    }
    *(void **)&get_version = dlsym(driver, "cuDriverGetVersion");
    if (get_version == NULL || get_version(&version) != CUDA_SUCCESS)
        differs("it does not say its version");
    get_proc_address *get;
    *(void **)&get = dlsym(driver, "cuGetProcAddress");
    for (const struct call *c = calls; c < calls + sizeof(calls) / sizeof(calls[0]); c++) {
        void *symbol = dlsym(driver, c->symbol);
        if (c->version > version) {
            if (symbol != NULL)
                differs("%s: there before %d", c->symbol, c->version);
            continue;
        }
        n++;
        if (symbol == NULL)
            differs("%s: not there, though of %d", c->symbol, c->version);
        else if (get != NULL && ask(get, c, c->version) != symbol)
            differs("%s of %d is not %s", c->name, c->version, c->symbol);
        else if (get != NULL && ask(get, c, c->version - 10) == symbol)
            differs("%s of %d is %s already", c->name, c->version - 10, c->symbol);
    }
    printf("%d: %u calls, %u differences\n", version, n, differences);
    return differences > 0;
}
