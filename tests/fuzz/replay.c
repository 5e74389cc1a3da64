/* tests/fuzz/replay.c - runs a fuzz target without libFuzzer: over the corpus that is kept with the
 * sources, then over random inputs made from numbers; in a process for each profile.
 *
 * Arguments: --profile=N (only this one), --random=N (so many random inputs for a profile); then,
 * in this process, --seed=N (one random input) or a file, or several. An input that fails is
 * written to build/fuzz/ beside the message that says why.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX_BYTES 4096u
#define ALL             UINT_MAX
#define LONG_FACTOR     15u
#define HANG_SECONDS    60

/* Sanitizers take their time. */
#ifdef __SANITIZE_ADDRESS__
#define SLOW_FACTOR 6u
#else
#define SLOW_FACTOR 1u
#endif

/* Told by the process that runs inputs to the one that waits for it. */
static struct progress {
    uint64_t inputs;
    uint64_t operations;
    uint64_t seed;       /* of a random input */
    char file[PATH_MAX]; /* or its name */
} * progress;

static char root[PATH_MAX]; /* of the source tree */
static bool is_long;        /* called long-NAME: for those who have time */

/* Builds with sanitizers: blocks under test are no malloc's, and the model keeps its own. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0:abort_on_error=0:allocator_may_return_null=1";
}

static void find_root(void)
{
    ssize_t n = readlink("/proc/self/exe", root, sizeof(root) - 1);

    FUZZ_CHECK(n > 0, "no /proc");
    is_long = strncmp(strrchr(root, '/') + 1, "long-", 5) == 0;
    /* build/tests/fuzz/NAME */
    for (int up = 0; up < 4; up++) {
        char *slash = strrchr(root, '/');
        FUZZ_CHECK(slash != NULL, "not below a source tree");
        *slash = '\0';
    }
}

/* ---- inputs ------------------------------------------------------------------------------ */

/* Half of them repeat pieces of themselves, as loops in a program do. */
static size_t random_input(uint64_t seed, uint8_t data[INPUT_MAX_BYTES])
{
    uint64_t x = fuzz_mix(seed);
    size_t size = 16 + (x >> 8) % (x % 8 == 0 ? INPUT_MAX_BYTES - 16 : 600);

    for (size_t i = 0; i < size; i++) {
        if (i % 7 == 0)
            x = fuzz_mix(x);
        data[i] = (uint8_t)(x >> i % 7 * 8);
        if ((seed & 1) != 0 && i > 64 && x >> 56 < 24) {
            size_t n = (x >> 48 & 31) + 1;
            size_t from = (x >> 32) % (i - 32);
            for (size_t k = 0; k < n && i < size; k++, i++)
                data[i] = data[from + k];
            i--;
            x = fuzz_mix(x);
        }
    }
    return size;
}

static size_t read_input(const char *path, uint8_t data[INPUT_MAX_BYTES])
{
    FILE *f = fopen(path, "rb");

    FUZZ_CHECK(f != NULL, "%s: %s", path, strerror(errno));
    size_t n = fread(data, 1, INPUT_MAX_BYTES, f);
    fclose(f);
    return n;
}

/* A copy of the exact size on the heap, so that a sanitizer sees reads past its end. */
static void run_input(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);

    memcpy(copy, data, size);
    alarm(HANG_SECONDS); /* only so that a hang names its input */
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    progress->inputs++;
    progress->operations = fuzz_operations();
}

static void run_file(const char *path)
{
    uint8_t data[INPUT_MAX_BYTES];

    snprintf(progress->file, sizeof(progress->file), "%s", path);
    run_input(data, read_input(path, data));
    progress->file[0] = '\0';
}

static void run_seed(uint64_t seed)
{
    uint8_t data[INPUT_MAX_BYTES];

    progress->seed = seed;
    run_input(data, random_input(seed, data));
}

static uint64_t seed_of(unsigned profile, unsigned n)
{
    return (uint64_t)profile * 1000000 + n;
}

/* ---- processes --------------------------------------------------------------------------- */

static char **corpus;
static unsigned corpus_files;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_corpus(void)
{
    char dir[PATH_MAX + 64];
    struct dirent *e;

    snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s", root, fuzz_name);
    DIR *d = opendir(dir);
    FUZZ_CHECK(d != NULL, "%s: %s", dir, strerror(errno));
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        corpus = realloc(corpus, (corpus_files + 1) * sizeof(*corpus));
        FUZZ_CHECK(asprintf(&corpus[corpus_files++], "%s/%s", dir, e->d_name) > 0, "asprintf");
    }
    closedir(d);
    FUZZ_CHECK(corpus_files > 0, "%s is empty", dir);
    qsort(corpus, corpus_files, sizeof(*corpus), by_name);
}

static void keep_input(unsigned profile)
{
    uint8_t data[INPUT_MAX_BYTES];
    char path[PATH_MAX + 64];
    size_t n;

    if (progress->file[0] != '\0') {
        fprintf(stderr, "the input was %s\n", progress->file);
        n = read_input(progress->file, data);
    } else {
        fprintf(stderr, "the input was --profile=%u --seed=%lu\n", profile,
                (unsigned long)progress->seed);
        n = random_input(progress->seed, data);
    }
    snprintf(path, sizeof(path), "%s/build/fuzz", root);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/build/fuzz/%s-profile-%u-failed", root, fuzz_name, profile);
    FILE *f = fopen(path, "wb");
    if (f != NULL && fwrite(data, 1, n, f) == n)
        fprintf(stderr, "kept as %s\n", path);
    if (f != NULL)
        fclose(f);
}

static bool run_profile(unsigned profile, unsigned random)
{
    /* Where there are many profiles, each takes a part of the corpus, unless there is time. */
    unsigned share = fuzz_profiles == 1 || is_long ? 1 : 4 * (SLOW_FACTOR > 1 ? 2 : 1);
    int status;

    memset(progress, 0, sizeof(*progress));
    fflush(NULL);
    pid_t pid = fork();
    FUZZ_CHECK(pid >= 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        fuzz_set_profile(profile);
        for (unsigned i = profile % share; i < corpus_files; i += share)
            run_file(corpus[i]);
        for (unsigned n = 0; n < random; n++)
            run_seed(seed_of(profile, n));
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0)
        FUZZ_CHECK(errno == EINTR, "waitpid: %s", strerror(errno));
    bool passed = status == 0;
    printf("%s, profile %u (%s): %lu inputs (%u of the corpus), %lu operations%s\n", fuzz_name,
           profile, fuzz_profile_name(profile), (unsigned long)progress->inputs,
           (corpus_files - profile % share + share - 1) / share,
           (unsigned long)progress->operations, passed ? "" : " - FAILED");
    fflush(stdout);
    if (!passed) {
        fprintf(stderr, "it ended with %s %d\n", WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        keep_input(profile);
    }
    return passed;
}

int main(int argc, char **argv)
{
    unsigned profile = ALL;
    unsigned random = fuzz_random_inputs;
    bool one = false;
    bool all_passed = true;

    progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(progress != MAP_FAILED, "mmap");
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--random=", 9) == 0) {
            random = (unsigned)atoi(argv[i] + 9);
            continue;
        }
        if (strncmp(argv[i], "--profile=", 10) == 0) {
            profile = (unsigned)atoi(argv[i] + 10);
            continue;
        }
        if (!one)
            fuzz_set_profile(profile == ALL ? 0 : profile);
        one = true;
        if (strncmp(argv[i], "--seed=", 7) == 0)
            run_seed(strtoull(argv[i] + 7, NULL, 10));
        else
            run_file(argv[i]);
    }
    if (one)
        return 0;
    find_root();
    find_corpus();
    if (is_long)
        random *= LONG_FACTOR;
    else if (SLOW_FACTOR > 1)
        random /= SLOW_FACTOR;
    for (unsigned p = 0; p < fuzz_profiles; p++)
        if (profile == ALL || p == profile)
            all_passed = run_profile(p, random) && all_passed;
    return all_passed ? 0 : 1;
}
