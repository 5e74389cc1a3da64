// Threads that allocate while others load and unload libraries, throw, fork and take signals, for
// SECONDS: with every block sampled, each of these meets the unwinder in another place.
#include <dlfcn.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::atomic<bool> over;
static std::atomic<unsigned long> loads, throws, forks, signals;

static void load(const char *one, const char *other)
{
    while (!over) {
        // Turn about, so that one comes to lie where the other was.
        for (const char *name : {one, other}) {
            void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
            if (handle == nullptr) {
                fprintf(stderr, "%s\n", dlerror());
                exit(1);
            }
            auto fill = reinterpret_cast<void *(*)(int)>(dlsym(handle, "part_fill"));
            free(fill(100));
            dlclose(handle);
            loads++;
        }
    }
}

static void descend(int depth)
{
    std::string text(static_cast<size_t>(100 + depth), 'x');

    if (depth == 0)
        throw std::runtime_error(text);
    descend(depth - 1);
    if (text.size() == 1)
        puts("no");
}

static void throw_on()
{
    while (!over) {
        try {
            descend(20);
        } catch (const std::exception &e) {
            throws += strlen(e.what()) != 0;
        }
        try {
            // More than there is, by way of the C++ library.
            volatile size_t much = SIZE_MAX / 4;
            delete[] new char[much];
        } catch (const std::bad_alloc &) {
            throws++;
        }
    }
}

static void fork_on()
{
    while (!over) {
        pid_t child = fork();
        if (child == 0) {
            std::vector<std::string> v;
            for (int i = 0; i < 50; i++)
                v.push_back(std::string(static_cast<size_t>(30 + i), 'c'));
            _exit(v.size() == 50 ? 0 : 1);
        }
        int status = -1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "a child ended with %d\n", status);
            exit(1);
        }
        forks++;
    }
}

static void *volatile swap_place;

static void churn()
{
    std::vector<void *> v(64);
    unsigned n = 0;

    while (!over) {
        void *&p = v[n++ % v.size()];
        p = realloc(p, 16 + n % 900);
        // What one thread made another frees.
        if (n % 7 == 0)
            p = __atomic_exchange_n(&swap_place, p, __ATOMIC_ACQ_REL);
    }
    for (void *p : v)
        free(p);
}

static void on_signal(int)
{
    signals++;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct sigaction action = {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigaction(SIGALRM, &action, nullptr);
    const struct itimerval often = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &often, nullptr);

    std::vector<std::thread> all;
    all.emplace_back(load, argv[2], argv[3]);
    all.emplace_back(load, argv[3], argv[2]);
    all.emplace_back(throw_on);
    all.emplace_back(fork_on);
    all.emplace_back(churn);
    all.emplace_back(churn);
    const time_t end = time(nullptr) + atoi(argv[1]);
    while (time(nullptr) < end)
        usleep(20000);
    over = true;
    for (std::thread &t : all)
        t.join();
    free(swap_place);
    printf("%s\n", loads > 0 && throws > 0 && forks > 0 && signals > 0 ? "all done" : "idle");
    return 0;
}
