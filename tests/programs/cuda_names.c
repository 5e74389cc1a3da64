/* cuda_names.c - what dlsym and dlvsym say of names, CUDA's and others', in every way of asking:
 * the object that defines the answer, or dlerror's words. The same with and without the library.
 *
 * cuda_names [LIBRARY...]: first opens the libraries, all local but those written +LIBRARY. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* The library's own hooks pass for the driver's functions. */
static void say(const char *how, const char *name, void *p)
{
    Dl_info info;
    char *e = dlerror();
    printf("%s \"%s\": ", how, name);
    if (p == NULL)
        printf("none, %s\n", e != NULL ? e : "no error");
    else if (e != NULL)
        printf("found, but %s\n", e);
    else if (dladdr(p, &info) == 0)
        printf("found in no object\n");
    else
        printf("found in %s\n", strcmp(base(info.dli_fname), "libxsigma.so") == 0
                                    ? "libcuda.so.1"
                                    : base(info.dli_fname));
}

static const char *const names[] = {
    "cuMemAlloc_v2",
    "cuMemAlloc",
    "cuMemFree_v2",
    "cuGetProcAddress_v2",
    "cuGetProcAddress",
    "cuInit",
    "cuLaunchKernel",
    "cuMemcpyAsync_ptsz",
    "cuMemcpy_ptds",
    "cuMemAlloc_v2 ",
    "cuMemAlloc_v",
    "cuMemAlloc_v22",
    "cudaMalloc",
    "cudnnCreate",
    "cublasCreate_v2",
    "curl_easy_init",
    "cu",
    "c",
    "cuserid",
    "ctime",
    "getenv",
    "no_such_name",
};

/* The one byte of the empty name lies at the end of what can be read. */
static const char *name_at_the_edge(const char *name)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = strlen(name) + 1;
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || munmap(p + page, page) != 0)
        return name;
    return memcpy(p + page - n, name, n);
}

int main(int argc, char **argv)
{
    void *handle[8] = {NULL};
    int opened = 0;
    for (int i = 1; i < argc && opened < 8; i++) {
        int global = argv[i][0] == '+';
        handle[opened] = dlopen(argv[i] + global, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
        if (handle[opened++] == NULL)
            return printf("%s\n", dlerror()), 1;
    }
    void *self = dlopen(NULL, RTLD_LAZY);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        say("default", names[i], dlsym(RTLD_DEFAULT, names[i]));
        say("next", names[i], dlsym(RTLD_NEXT, names[i]));
        say("main", names[i], dlsym(self, names[i]));
        say("version", names[i], dlvsym(RTLD_DEFAULT, names[i], "GLIBC_2.2.5"));
        for (int k = 0; k < opened; k++) {
            void *(*next)(const char *) = dlsym(handle[k], "middle_next");
            void *(*other)(const char *) = dlsym(handle[k], "middle_default");
            void *(*version)(const char *, const char *) = dlsym(handle[k], "middle_version");
            say("handle", names[i], dlsym(handle[k], names[i]));
            if (next == NULL || other == NULL || version == NULL)
                continue;
            say("next of a library", names[i], next(names[i]));
            say("default of a library", names[i], other(names[i]));
            say("version of a library", names[i], version(names[i], "GLIBC_2.2.5"));
        }
    }
    say("edge", "", dlsym(RTLD_DEFAULT, name_at_the_edge("")));
    say("edge", "c", dlsym(RTLD_DEFAULT, name_at_the_edge("c")));
    say("edge", "cu", dlsym(RTLD_DEFAULT, name_at_the_edge("cu")));
    say("edge", "cuMemAlloc_v2", dlsym(RTLD_DEFAULT, name_at_the_edge("cuMemAlloc_v2")));

    /* An error that was not asked for is forgotten at the next success, of our names too. */
    dlsym(RTLD_DEFAULT, "no_such_name");
    say("after an error", "getenv", dlsym(RTLD_DEFAULT, "getenv"));
    dlsym(RTLD_DEFAULT, "no_such_name");
    say("after an error", "cuMemAlloc_v2",
        dlsym(opened > 0 ? handle[0] : RTLD_DEFAULT, "cuMemAlloc_v2"));
    dlsym(RTLD_DEFAULT, "cuMemAlloc_v2");
    say("after none of CUDA's", "getenv", dlsym(RTLD_DEFAULT, "getenv"));
    return 0;
}
