/* double_free.c CASE - frees a block twice; "none": no error at all, of the same kinds. Prints
 * "survived" if it gets to its end. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SMALL = 64, MEDIUM = 20000, CHUNK = 100000, LARGE = 8 << 20, OTHERS = 100, MANY = 3000 };

static void *freer(void *p)
{
    free(p);
    return NULL;
}

static void free_elsewhere(void *p)
{
    pthread_t t;

    if (pthread_create(&t, NULL, freer, p) != 0 || pthread_join(t, NULL) != 0)
        exit(2);
}

/* Frees `n` blocks between the two frees of one of `size` bytes. */
static void twice(size_t size, int n)
{
    void *other[MANY];
    char *p = malloc(size);

    for (int i = 0; i < n; i++)
        other[i] = malloc(size);
    memset(p, 1, size);
    free(p);
    for (int i = 0; i < n; i++)
        free(other[i]);
    free(p);
}

static void dies_in_child(char *p, const char *what, int i)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        free(p);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        exit(2);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
        printf("survived that of %s %d\n", what, i);
        exit(1);
    }
}

/* The same for each block of some, more than are kept apart from their slab: the last one here, the
 * others in children. */
static void each(void)
{
    char *p[OTHERS];

    for (int i = 0; i < OTHERS; i++)
        memset(p[i] = malloc(SMALL), 1, SMALL);
    for (int i = 0; i < OTHERS; i++)
        free(p[i]);
    for (int i = 0; i < OTHERS - 1; i++)
        dies_in_child(p[i], "block", i);
    free(p[OTHERS - 1]);
}

static char *many[MANY];
static int freed;

/* The last one, which is the head of a chain, the first, and some between. */
static void twice_in_children(const char *who)
{
    for (int i = freed - 1; i >= 0; i -= freed / 6 + 1)
        dies_in_child(many[i], who, i);
    dies_in_child(many[0], who, 0);
}

static void *freer_of_many(void *unused)
{
    for (int i = 0; i < freed; i++)
        free(many[i]);
    twice_in_children("the freer's own");
    return unused;
}

/* Blocks that another thread has freed first: wherever they lie, chains that are full or in being,
 * its magazine or their slab, that thread's second free and anybody else's are noticed. */
static void each_of_others(void)
{
    static const size_t sizes[] = {1, 40, SMALL, 1000, MEDIUM};
    static const int counts[] = {5, 33, 100, 257, 600};
    pthread_t t;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
            freed = counts[k];
            for (int n = 0; n < freed; n++)
                memset(many[n] = malloc(sizes[i]), 1, sizes[i]);
            if (pthread_create(&t, NULL, freer_of_many, NULL) != 0 || pthread_join(t, NULL) != 0)
                exit(2);
            twice_in_children("another's");
        }
    free(many[0]);
}

static pthread_barrier_t is_free;

static void *late_freer(void *p)
{
    pthread_barrier_wait(&is_free);
    free(p);
    return NULL;
}

/* First here, then in another thread. It is there before: what a new one needs could be put where
 * the block was, which is then another block of the same address. */
static void here_then_elsewhere(size_t size)
{
    char *p = malloc(size);
    pthread_t t;

    memset(p, 1, size);
    if (pthread_barrier_init(&is_free, NULL, 2) != 0 ||
        pthread_create(&t, NULL, late_freer, p) != 0)
        exit(2);
    free(p);
    pthread_barrier_wait(&is_free);
    pthread_join(t, NULL);
}

static void elsewhere_then_here(size_t size)
{
    char *p = malloc(size);

    memset(p, 1, size);
    free_elsewhere(p);
    free(p);
}

/* Blocks in use that bear the mark of a free one, whole or the half of it that free looks at first,
 * because the program wrote it. */
static void marked_by_chance(void)
{
    for (size_t n = 4; n <= 8; n += 4) {
        for (int round = 0; round < 300; round++) {
            char *p = malloc(SMALL), *q = malloc(SMALL);
            char *was = p;

            __asm__("" : "+r"(was)); /* the compiler need not know what is read below */
            free(p);
            memcpy(q + 8, was + 8, n);
            if (round % 50 == 0)
                free_elsewhere(q);
            else
                free(q);
        }
    }
}

static void none(void)
{
    static const size_t sizes[] = {1, SMALL, MEDIUM, CHUNK, LARGE};

    marked_by_chance();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int round = 0; round < 300; round++) {
            char *p = malloc(sizes[i]);
            char *q = malloc(sizes[i]);

            p[0] = q[0] = 1;
            free(p);
            if (round % 50 == 0)
                free_elsewhere(q);
            else
                free(q);
        }
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    /* The heap is in use when it happens. */
    for (size_t i = 1; i < 200000; i *= 3)
        free(malloc(i));
    if (strcmp(what, "none") == 0) {
        none();
    } else if (strcmp(what, "small") == 0) {
        twice(SMALL, 0);
    } else if (strcmp(what, "smallest") == 0) {
        twice(1, 0);
    } else if (strcmp(what, "small-later") == 0) {
        twice(SMALL, OTHERS);
    } else if (strcmp(what, "small-each") == 0) {
        each();
    } else if (strcmp(what, "others-each") == 0) {
        each_of_others();
    } else if (strcmp(what, "medium") == 0) {
        twice(MEDIUM, 0);
    } else if (strcmp(what, "medium-later") == 0) {
        twice(MEDIUM, OTHERS);
    } else if (strcmp(what, "medium-gone") == 0) {
        twice(MEDIUM, MANY); /* the slab is none any more */
    } else if (strcmp(what, "chunk") == 0) {
        twice(CHUNK, 0);
    } else if (strcmp(what, "chunk-later") == 0) {
        twice(CHUNK, OTHERS);
    } else if (strcmp(what, "large") == 0) {
        twice(LARGE, 0);
    } else if (strcmp(what, "other-then-this") == 0) {
        elsewhere_then_here(SMALL);
    } else if (strcmp(what, "this-then-other") == 0) {
        here_then_elsewhere(SMALL);
    } else if (strcmp(what, "other-then-this-chunk") == 0) {
        elsewhere_then_here(CHUNK);
    } else if (strcmp(what, "this-then-other-chunk") == 0) {
        here_then_elsewhere(CHUNK);
    } else if (strcmp(what, "realloc") == 0) {
        char *p = malloc(SMALL);
        free(p);
        (void)!realloc(p, 2 * SMALL);
    } else if (strncmp(what, "realloc-", 8) == 0) {
        size_t size = strstr(what, "chunk") != NULL ? CHUNK : LARGE;
        char *p = malloc(size);
        free(p);
        (void)!realloc(p, strstr(what, "longer") != NULL ? 2 * size : size);
    } else if (strcmp(what, "calloc") == 0) {
        char *p = calloc(1, SMALL);
        free(p);
        free(p);
    } else if (strcmp(what, "written") == 0) {
        /* What marks it as free is overwritten before the second free. */
        char *p = malloc(SMALL);
        free(p);
        memset(p, 1, SMALL);
        free(p);
    } else if (strcmp(what, "again") == 0) {
        /* The second free is of whoever got the block meanwhile. */
        char *p = malloc(SMALL);
        free(p);
        char *q = malloc(SMALL);
        free(p);
        printf("%s\n", p == q ? "same block" : "another block");
    } else {
        return 2;
    }
    puts("survived");
    return 0;
}
