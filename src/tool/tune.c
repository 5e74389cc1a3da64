/* The verb `tune`: runs a command under several settings and says which serve it best. */
#include "tool/tune.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "policy/config.h"
#include "sys/proc.h"
#include "tool/scratch.h"
#include "tool/settings.h"
#include "tool/target.h"
#include "tool/tool.h"

#define RUNS_DEFAULT 5
#define BAR_COLUMNS  24
/* A run that takes so many times as long as the first one is taken to hang. */
#define LIMIT_TIMES    10
#define LIMIT_LEAST_NS UINT64_C(10000000000)

static const char *const objectives[] = {"time", "rss", "gpu-peak"};

/* ---- options ------------------------------------------------------------------------------ */

enum option { RUNS, OBJECTIVE, CHECK, CANDIDATE, SAVE, TIMEOUT, SEED, OPTIONS };

static const char *const option_names[OPTIONS] = {"-n",     "--objective", "--check", "--candidate",
                                                  "--save", "--timeout",   "--seed"};

static int take_count(const char *option, const char *text, uint64_t least, uint64_t most,
                      uint64_t *out)
{
    if (xs_text_count(text, strlen(text), out) == 0 && *out >= least && *out <= most)
        return 0;
    xs_tool_error("tune: %s: '%s' is no whole number from %lu to %lu", option, text,
                  (unsigned long)least, (unsigned long)most);
    return XS_EXIT_USAGE;
}

static int take_objective(struct xs_tune *t, const char *text)
{
    struct xs_nearest nearest;

    xs_nearest_init(&nearest, text);
    for (size_t i = 0; i < XS_COUNT_OF(objectives); i++) {
        xs_nearest_try(&nearest, objectives[i]);
        if (strcmp(text, objectives[i]) == 0) {
            t->objective = (enum xs_tune_objective)i;
            return 0;
        }
    }
    xs_tool_error("tune: --objective is time, rss or gpu-peak, not '%s'%s%s%s", text,
                  nearest.best != NULL ? "; did you mean " : "",
                  nearest.best != NULL ? nearest.best : "", nearest.best != NULL ? "?" : "");
    return XS_EXIT_USAGE;
}

static int take_limit(struct xs_tune *t, const char *text)
{
    if (xs_text_time(text, strlen(text), &t->limit_ns) == 0 && t->limit_ns != 0)
        return 0;
    xs_tool_error("tune: --timeout: '%s' is no time above 0 with its unit, as 90s or 5min", text);
    return XS_EXIT_USAGE;
}

static int apply(struct xs_tune *t, enum option option, const char *value)
{
    uint64_t n = 0;
    int status;

    switch (option) {
    case RUNS:
        status = take_count("-n", value, 1, XS_TUNE_RUNS, &n);
        t->runs = (unsigned)n;
        return status;
    case OBJECTIVE:
        return take_objective(t, value);
    case CHECK:
        t->check = value;
        return 0;
    case CANDIDATE:
        return xs_tune_add(t, value);
    case SAVE:
        t->save = value;
        return 0;
    case TIMEOUT:
        return take_limit(t, value);
    default:
        return take_count("--seed", value, 0, UINT64_MAX, &t->seed);
    }
}

/* Takes its own options out of argv; the others are those of `run`. */
static int take_options(struct xs_tune *t, int *argc, char **argv)
{
    int kept = 1;
    int i = 1;

    for (; i < *argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
        size_t len = strcspn(argv[i], "=");
        unsigned option = 0;
        while (option < OPTIONS && (strlen(option_names[option]) != len ||
                                    strncmp(argv[i], option_names[option], len) != 0))
            option++;
        int from = i;
        const char *value = xs_settings_value(*argc, argv, &i, len);
        if (option == OPTIONS) {
            /* An unknown one is refused by whoever knows the rest of them. */
            while (from <= i)
                argv[kept++] = argv[from++];
            continue;
        }
        if (value == NULL) {
            xs_tool_error("tune: %s: a value is needed", option_names[option]);
            return XS_EXIT_USAGE;
        }
        int status = apply(t, (enum option)option, value);
        if (status != 0)
            return status;
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    argv[kept] = NULL;
    *argc = kept;
    return 0;
}

/* ---- what --set and --preset gave ---------------------------------------------------------- */

static bool is_in(char *const *list, const char *word)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static void note_given(struct xs_tune *t, char *const *before)
{
    for (char **e = environ; *e != NULL; e++) {
        const char *equals = strchr(*e, '=');
        struct xs_tune_setting *s = &t->given[t->givens];
        if (equals == NULL || strncmp(*e, "XSIGMA_", 7) != 0 || is_in(before, *e) ||
            t->givens == XS_COUNT_OF(t->given) || (size_t)(equals - *e) >= sizeof(s->name) ||
            strlen(equals + 1) >= sizeof(s->value))
            continue;
        memcpy(s->name, *e, (size_t)(equals - *e));
        memcpy(s->value, equals + 1, strlen(equals + 1) + 1);
        t->givens++;
    }
}

/* The options of `run`, with what they set noted. */
static int take_settings(struct xs_tune *t, struct xs_settings *s, int argc, char **argv)
{
    size_t n = 0;

    while (environ[n] != NULL)
        n++;
    char **before = calloc(n + 1, sizeof(*before));
    if (before == NULL)
        return XS_EXIT_REFUSED;
    memcpy(before, environ, n * sizeof(*before));
    int status = xs_settings_parse(s, argc, argv, false);
    if (status == 0)
        note_given(t, before);
    free(before);
    return status;
}

/* ---- runs ---------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static void shuffle(unsigned *order, unsigned n, uint64_t *state)
{
    for (unsigned i = n; i > 1; i--) {
        unsigned k = (unsigned)(next_random(state) % i);
        unsigned swap = order[i - 1];
        order[i - 1] = order[k];
        order[k] = swap;
    }
}

static void progress(const struct xs_tune *t, unsigned done, unsigned all, const char *label)
{
    if (!isatty(STDERR_FILENO)) {
        /* A line a round. */
        if (done != 0 && done % t->candidates == 0)
            fprintf(stderr, "tune: round %u of %u\n", done / t->candidates, t->runs);
        return;
    }
    unsigned cells = all == 0 ? 0 : done * BAR_COLUMNS / all;
    fputs("\r[", stderr);
    for (unsigned i = 0; i < BAR_COLUMNS; i++)
        fputc(i < cells ? '#' : '.', stderr);
    fprintf(stderr, "] %u/%u  %-36.36s", done, all, label);
}

static void end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

/* All candidates once, in random order, as often as asked for. */
static void rounds(struct xs_tune *t)
{
    unsigned order[XS_TUNE_CANDIDATES];
    unsigned all = t->runs * t->candidates;
    unsigned done = 0;
    uint64_t state = t->seed;
    uint64_t figure;
    uint64_t cost;

    for (unsigned i = 0; i < t->candidates; i++)
        order[i] = i;
    for (unsigned round = 0; round < t->runs; round++) {
        shuffle(order, t->candidates, &state);
        for (unsigned i = 0; i < t->candidates; i++) {
            struct xs_tune_candidate *c = &t->candidate[order[i]];
            progress(t, done++, all, c->label);
            if (c->out[0] != '\0')
                continue;
            if (!xs_tune_run(t, c, t->objective == XS_TUNE_GPU_PEAK, &figure, &cost))
                return;
            if (c->out[0] != '\0')
                continue;
            c->figure[c->runs] = figure;
            c->cost[c->runs++] = cost;
        }
    }
    progress(t, done, all, "");
}

static int tune(struct xs_tune *t)
{
    struct xs_tune_candidate *baseline = &t->candidate[0];
    bool named = t->candidates > 1;
    uint64_t ignored;

    /* Not counted: it warms caches, and shows what to try, and how long a run takes. */
    uint64_t start = xs_proc_now_ns();
    bool ran = xs_tune_run(t, baseline, true, &ignored, &ignored);
    if (t->limit_ns == 0)
        t->limit_ns = LIMIT_LEAST_NS + LIMIT_TIMES * (xs_proc_now_ns() - start);
    if (ran && baseline->out[0] != '\0') {
        xs_tool_error("tune: the program as it is: %s", baseline->out);
        return XS_EXIT_NO;
    }
    if (ran && t->baseline_status != 0)
        xs_tool_error("tune: note: the program as it is ends with status %d", t->baseline_status);
    if (ran && !named) {
        xs_tune_add_advised(t);
        xs_tune_add_known(t);
    }
    for (unsigned i = 0; i < t->candidates; i++) {
        t->candidate[i].figure = calloc(t->runs, sizeof(*t->candidate[i].figure));
        t->candidate[i].cost = calloc(t->runs, sizeof(*t->candidate[i].cost));
        if (t->candidate[i].figure == NULL || t->candidate[i].cost == NULL) {
            xs_tool_error("tune: %s", strerror(ENOMEM));
            return XS_EXIT_NO;
        }
    }
    if (ran) {
        rounds(t);
        end_progress();
    }
    int status = xs_tune_show(t);
    for (unsigned i = 0; i < t->candidates; i++) {
        free(t->candidate[i].figure);
        free(t->candidate[i].cost);
    }
    return xs_tune_interrupted() != 0 ? 128 + xs_tune_interrupted() : status;
}

/* Said before hours of runs, not after them. */
static int look_at_save(const char *file)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT) {
        fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0)
            (void)unlink(file);
    }
    if (fd < 0) {
        xs_tool_error("tune: %s: %s", file, strerror(errno));
        return XS_EXIT_NO;
    }
    close(fd);
    return 0;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int prepare(struct xs_tune *t, int argc, char **argv)
{
    static struct xs_settings settings;
    static struct xs_target target;
    char why[3 * PATH_MAX];
    int status = take_options(t, &argc, argv);

    if (status == 0)
        status = take_settings(t, &settings, argc, argv);
    if (status != 0)
        return status;
    if (settings.program >= argc) {
        xs_tool_error("tune: a program is needed; see 'xsigma help tune'");
        return XS_EXIT_USAGE;
    }
    status = xs_settings_library(&settings, why, sizeof(why));
    if (status != 0) {
        xs_tool_error("%s", why);
        return status;
    }
    if (t->save != NULL && (status = look_at_save(t->save)) != 0)
        return status;
    t->argv = argv + settings.program;
    xs_target_find(&target, t->argv);
    if (target.status != 0) {
        xs_tool_error("%s", target.reason);
        return target.status;
    }
    if (target.note[0] != '\0')
        xs_tool_error("note: %s", target.note);
    t->program = target.first;
    xs_config_load(false);
    return xs_settings_preload(&settings);
}

int xs_tool_tune(int argc, char **argv)
{
    static struct xs_tune t;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    t.runs = RUNS_DEFAULT;
    t.seed = (uint64_t)now.tv_nsec % 1000000;
    snprintf(t.candidate[0].label, sizeof(t.candidate[0].label), "baseline");
    t.candidates = 1;
    int status = prepare(&t, argc, argv);
    if (status != 0)
        return status;
    int rc = xs_scratch_make(t.directory, sizeof(t.directory));
    if (rc != 0) {
        xs_tool_error("tune: %s: %s", t.directory, strerror(rc));
        return XS_EXIT_NO;
    }
    xs_tune_catch_signals();
    status = tune(&t);
    (void)xs_scratch_remove(t.directory);
    return status;
}
