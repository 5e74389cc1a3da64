// Sites whose bytes are known: prints "function live peak" for each. Arguments: libraries with
// part_fill to open, of which the last is closed again. With KNOWN_SITES_KILL in the environment it
// kills itself in the end.
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define APART __attribute__((noinline))

namespace
{

struct Node {
    Node *next;
    double value[9];
};

// Compiled into its caller, where it is the innermost of two functions at one address.
inline __attribute__((always_inline)) Node *make_node(Node *next)
{
    Node *n = new Node();

    n->next = next;
    return n;
}

APART Node *grow_list(size_t count)
{
    Node *first = nullptr;

    while (count-- > 0)
        first = make_node(first);
    return first;
}

template <class T> APART T *take_many(std::vector<T *> &into, size_t count, size_t bytes)
{
    while (count-- > 0)
        into.push_back(static_cast<T *>(calloc(1, bytes)));
    return into.back();
}

APART void grow_blocks(std::vector<void *> &into, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *p = nullptr;
        for (size_t bytes = 500; bytes <= 2000; bytes += 500)
            p = realloc(p, bytes);
        into.push_back(p);
    }
}

APART void one_large(std::vector<void *> &into)
{
    void *p = malloc(3000000);

    memset(p, 1, 3000000);
    into.push_back(p);
}

} // namespace

int main(int argc, char **argv)
{
    static Node *list;
    static std::vector<char *> small;
    static std::vector<void *> grown, passing, large;
    static std::vector<void *> parts;

    small.reserve(100000);
    grown.reserve(3000);
    passing.reserve(20000);
    list = grow_list(60000);
    take_many(small, 100000, 56);
    grow_blocks(grown, 2500);
    one_large(large);
    for (int i = 1; i < argc; i++) {
        void *handle = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr)
            return 1;
        auto fill = reinterpret_cast<void *(*)(int)>(dlsym(handle, "part_fill"));
        parts.push_back(fill(40000));
        if (i == argc - 1)
            dlclose(handle);
    }
    // Only there at the peak.
    take_many<void>(passing, 10000, 700);
    for (void *p : passing)
        free(p);
    printf("make_node %zu %zu\n", 60000 * sizeof(Node), 60000 * sizeof(Node));
    printf("take_many<char> %d %d\n", 100000 * 56, 100000 * 56);
    printf("take_many<void> 0 %d\n", 10000 * 700);
    printf("grow_blocks %d %d\n", 2500 * 2000, 2500 * 2000);
    printf("one_large %d %d\n", 3000000, 3000000);
    printf("part_fill %d %d\n", 40000 * 120, 40000 * 120);
    fflush(stdout);
    if (getenv("KNOWN_SITES_KILL") != nullptr)
        kill(getpid(), SIGKILL);
    return list == nullptr;
}
