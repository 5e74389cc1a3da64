/* tool/tune.h - the parts of `xsigma tune`: candidates, one run of the program, the verdict.
 * Units:   figures are nanoseconds of CPU time or bytes, by the objective.
 * Context: the command, one thread.
 */
#ifndef XS_TOOL_TUNE_H
#define XS_TOOL_TUNE_H

#include <sys/resource.h>
#include <sys/types.h>

#include "base/compiler.h"

#define XS_TUNE_CANDIDATES 24
#define XS_TUNE_SETTINGS   8
#define XS_TUNE_RUNS       1000

enum xs_tune_objective { XS_TUNE_TIME, XS_TUNE_RSS, XS_TUNE_GPU_PEAK };

struct xs_tune_setting {
    char name[64];
    char value[128];
};

struct xs_tune_candidate {
    char label[256];
    struct xs_tune_setting setting[XS_TUNE_SETTINGS];
    unsigned settings;
    uint64_t *figure; /* of its runs, in their order */
    uint64_t *cost;   /* what they took beside it: memory where time is the objective, else time */
    unsigned runs;
    char out[160]; /* "" or why it is no longer a candidate */
};

struct xs_tune {
    enum xs_tune_objective objective;
    unsigned runs;
    uint64_t seed;
    uint64_t limit_ns; /* of a run; 0: none yet */
    const char *check; /* or NULL */
    const char *save;  /* or NULL */
    const char *program;
    char **argv;
    int baseline_status;
    char directory[64];                                     /* of output and reports */
    struct xs_tune_candidate candidate[XS_TUNE_CANDIDATES]; /* [0] is the baseline */
    unsigned candidates;
    struct xs_tune_setting given[XS_TUNE_CANDIDATES]; /* by --set and --preset: of all */
    unsigned givens;
};

/* "NAME=VALUE NAME=VALUE", with or without XSIGMA_; 0, or a usage error after a line on stderr. */
int xs_tune_add(struct xs_tune *t, const char *words);
/* Back ends, routes and presets, less what the baseline is already and what is not installed. */
void xs_tune_add_known(struct xs_tune *t);
/* What the reports of the run before advise. */
void xs_tune_add_advised(struct xs_tune *t);

/* Runs the program once. False: it was interrupted, and nothing is known. A candidate that does not
 * do what the baseline did is out. With `reports`, they lie in the directory afterwards. */
bool xs_tune_run(struct xs_tune *t, struct xs_tune_candidate *c, bool reports, uint64_t *figure,
                 uint64_t *cost);

enum xs_tune_end { XS_TUNE_ENDED, XS_TUNE_LATE, XS_TUNE_INTERRUPTED };

/* Waits for a child. After `limit_ns`, if that is not 0, it is killed with all that it started. */
enum xs_tune_end xs_tune_wait(pid_t pid, uint64_t limit_ns, int *status, struct rusage *usage);

/* The signal that ended it all, or 0. */
int xs_tune_interrupted(void);
void xs_tune_catch_signals(void);
/* In a child: what we changed of signals is as it was. */
void xs_tune_become_program(void);

/* Which of them to take, by the rule that is printed; 0: the baseline. */
unsigned xs_tune_choose(const struct xs_tune *t);
int xs_tune_show(const struct xs_tune *t);

/* Of sorted or unsorted figures. The interval leaves out an eighth at each end. */
uint64_t xs_tune_median(const struct xs_tune_candidate *c);
uint64_t xs_tune_median_cost(const struct xs_tune_candidate *c);
void xs_tune_interval(const struct xs_tune_candidate *c, uint64_t *low, uint64_t *high);

#endif
