#include "tool/wrapper.h"

#include <string.h>

#include "tool/tool.h"

/* --- words --- */

const char *xs_words_peek(const struct xs_words *w)
{
    return w->head_len > 0 ? w->head[w->head_len - 1] : *w->tail;
}

const char *xs_words_take(struct xs_words *w)
{
    if (w->head_len > 0)
        return w->head[--w->head_len];
    return *w->tail != NULL ? *w->tail++ : NULL;
}

bool xs_words_push(struct xs_words *w, const char *word)
{
    if (w->head_len == XS_WORDS_MAX)
        return false;
    w->head[w->head_len++] = word;
    return true;
}

const char *xs_words_keep(const char *text, size_t len)
{
    static char mem[1 << 16];
    static size_t used;
    char *copy = mem + used;

    if (len >= sizeof(mem) - used)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    used += len + 1;
    return copy;
}

/* --- wrappers that pass the environment on --- */

struct form {
    const char *name;
    const char *letters; /* as getopt has them: ':' after those with a value */
    const char *longs;   /* " name name: " - the same */
    const char *alone;   /* letters after which no command follows */
    int operands;        /* before the command */
    bool takes_number;   /* "-5" is an option */
    bool stays;          /* the command is a child of it */
};

static const struct form forms[] = {
    {"nice", "n:", " adjustment: ", "", 0, true, false},
    {"nohup", "", " ", "", 0, false, false},
    {"time", "apqvf:o:", " append portability quiet verbose format: output: ", "", 0, false, true},
    {"timeout", "fpvk:s:", " foreground preserve-status verbose kill-after: signal: ", "", 1, false,
     true},
    {"taskset", "acp", " all-tasks cpu-list pid ", "p", 1, false, false},
    {"numactl", "abli:w:p:P:C:N:m:sH",
     " all balancing localalloc interleave: weighted-interleave: preferred: preferred-many:"
     " physcpubind: cpunodebind: membind: ",
     "sH", 0, false, false},
    {"stdbuf", "i:o:e:", " input: output: error: ", "", 0, false, false},
    {"setsid", "cfw", " ctty fork wait ", "", 0, false, false},
    {"chrt", "abdfiorRvpT:P:D:",
     " all-tasks batch deadline fifo idle other rr reset-on-fork verbose pid sched-runtime:"
     " sched-period: sched-deadline: ",
     "p", 1, false, false},
    {"ionice", "tc:n:p:P:u:", " ignore class: classdata: pid: pgid: uid: ", "pPu", 0, false, false},
};

/* Finds `word` of `len` bytes in a list of longs: 0 absent, 1 plain, 2 with a value. */
static int find_long(const char *longs, const char *word, size_t len)
{
    for (const char *at = longs; (at = strchr(at, ' ')) != NULL && at[1] != '\0';) {
        at++;
        size_t n = strcspn(at, " :");
        if (n == len && strncmp(at, word, len) == 0)
            return at[n] == ':' ? 2 : 1;
    }
    return 0;
}

/* One option off the words: false if it is not one we know. */
static bool skip_long(const char *longs, const char *arg, struct xs_words *w)
{
    size_t len = strcspn(arg, "=");
    int kind = find_long(longs, arg, len);

    if (kind == 2 && arg[len] == '\0')
        return xs_words_take(w) != NULL;
    return kind != 0;
}

static bool skip_letters(const struct form *f, const char *arg, struct xs_words *w, bool *alone)
{
    if (f->takes_number && arg[strspn(arg, "0123456789")] == '\0')
        return true;
    for (; *arg != '\0'; arg++) {
        const char *letter = *arg != ':' ? strchr(f->letters, *arg) : NULL;

        if (letter == NULL)
            return false;
        *alone |= strchr(f->alone, *arg) != NULL;
        if (letter[1] == ':')
            return arg[1] != '\0' || xs_words_take(w) != NULL;
    }
    return true;
}

static enum xs_wrapper skip_form(const struct form *f, struct xs_words *w)
{
    bool alone = false;
    const char *arg;

    while ((arg = xs_words_peek(w)) != NULL && arg[0] == '-' && arg[1] != '\0') {
        xs_words_take(w);
        if (strcmp(arg, "--") == 0)
            break;
        if (arg[1] == '-' ? !skip_long(f->longs, arg + 2, w) : !skip_letters(f, arg + 1, w, &alone))
            return XS_WRAPPER_UNCLEAR;
        if (strcmp(arg, "--pid") == 0)
            alone = true;
    }
    for (int i = 0; i < f->operands && !alone; i++)
        if (xs_words_take(w) == NULL)
            return XS_WRAPPER_ALONE;
    if (alone || xs_words_peek(w) == NULL)
        return XS_WRAPPER_ALONE;
    return f->stays ? XS_WRAPPER_PARENT : XS_WRAPPER_FOLLOW;
}

/* --- env --- */

static bool is_preload(const char *assignment)
{
    return strncmp(assignment, "LD_PRELOAD", 10) == 0 &&
           (assignment[10] == '\0' || assignment[10] == '=');
}

/* -S's text as words; false where quotes and escapes would need env's whole grammar. */
static bool split(const char *text, struct xs_words *w)
{
    const char *words[XS_WORDS_MAX];
    size_t count = 0;

    if (strpbrk(text, "\"'\\$#") != NULL)
        return false;
    for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
        size_t len = strcspn(text, " \t");
        if (count == XS_WORDS_MAX || (words[count++] = xs_words_keep(text, len)) == NULL)
            return false;
        text += len;
    }
    while (count > 0)
        if (!xs_words_push(w, words[--count]))
            return false;
    return true;
}

static const char lost_in_env[] = "'env' takes LD_PRELOAD away: put 'xsigma run --' behind it";

static enum xs_wrapper skip_env_letters(const char *arg, struct xs_words *w, const char **why)
{
    for (; *arg != '\0'; arg++) {
        const char *value;

        if (*arg == '0' || *arg == 'v')
            continue;
        if (*arg == 'i') {
            *why = lost_in_env;
            continue;
        }
        if (strchr("uCS", *arg) == NULL)
            return XS_WRAPPER_UNCLEAR;
        value = arg[1] != '\0' ? arg + 1 : xs_words_take(w);
        if (value == NULL || *arg == 'C') /* relative paths mean something else then */
            return XS_WRAPPER_UNCLEAR;
        if (*arg == 'u' && is_preload(value))
            *why = lost_in_env;
        if (*arg == 'S' && !split(value, w))
            return XS_WRAPPER_UNCLEAR;
        return XS_WRAPPER_FOLLOW;
    }
    return XS_WRAPPER_FOLLOW;
}

static enum xs_wrapper skip_env_long(const char *arg, struct xs_words *w, const char **why)
{
    size_t len = strcspn(arg, "=");
    const char *value = arg[len] == '=' ? arg + len + 1 : NULL;
    int kind = find_long(" ignore-environment null debug default-signal ignore-signal block-signal"
                         " list-signal-handling unset: split-string: ",
                         arg, len);

    if (kind == 0)
        return XS_WRAPPER_UNCLEAR;
    if (strncmp(arg, "ignore-environment", len) == 0)
        *why = lost_in_env;
    if (kind == 2) {
        if (value == NULL)
            value = xs_words_take(w);
        if (value == NULL)
            return XS_WRAPPER_UNCLEAR;
        if (arg[0] == 'u' && is_preload(value))
            *why = lost_in_env;
        if (arg[0] == 's' && !split(value, w))
            return XS_WRAPPER_UNCLEAR;
    }
    return XS_WRAPPER_FOLLOW;
}

static enum xs_wrapper skip_env(struct xs_words *w, const char **why, const char **search)
{
    const char *arg;

    *why = NULL;
    while ((arg = xs_words_peek(w)) != NULL && arg[0] == '-') {
        enum xs_wrapper kind = XS_WRAPPER_FOLLOW;

        xs_words_take(w);
        if (strcmp(arg, "--") == 0)
            break;
        if (arg[1] == '\0')
            *why = lost_in_env;
        else
            kind =
                arg[1] == '-' ? skip_env_long(arg + 2, w, why) : skip_env_letters(arg + 1, w, why);
        if (kind != XS_WRAPPER_FOLLOW)
            return kind;
    }
    while ((arg = xs_words_peek(w)) != NULL && strchr(arg, '=') != NULL) {
        xs_words_take(w);
        if (is_preload(arg))
            *why = lost_in_env;
        if (strncmp(arg, "PATH=", 5) == 0)
            *search = arg + 5;
    }
    if (arg == NULL)
        return XS_WRAPPER_ALONE;
    return *why != NULL ? XS_WRAPPER_LOST : XS_WRAPPER_FOLLOW;
}

/* Its options are one word each. Tools that put a malloc of their own in the C library's place
 * never see ours; those that only count run as ever. */
static enum xs_wrapper skip_valgrind(struct xs_words *w, const char **why)
{
    static const char *const blind[] = {"memcheck", "massif", "dhat", "helgrind", "drd"};
    const char *tool = blind[0];
    const char *arg;

    while ((arg = xs_words_peek(w)) != NULL && arg[0] == '-') {
        xs_words_take(w);
        if (strncmp(arg, "--tool=", 7) == 0)
            tool = arg + 7;
    }
    if (arg == NULL)
        return XS_WRAPPER_ALONE;
    for (size_t i = 0; i < XS_COUNT_OF(blind); i++)
        if (strcmp(tool, blind[i]) == 0) {
            *why = "this tool watches the C library's malloc only: run it without xsigma";
            return XS_WRAPPER_LOST;
        }
    return XS_WRAPPER_FOLLOW;
}

enum xs_wrapper xs_wrapper_skip(const char *name, struct xs_words *w, const char **why,
                                const char **search)
{
    static const char *const privileged[] = {"sudo", "doas", "su", "pkexec"};
    static const char *const launchers[] = {"mpirun", "mpiexec", "orterun", "prterun", "srun"};

    if (strcmp(name, "env") == 0)
        return skip_env(w, why, search);
    if (strcmp(name, "valgrind") == 0)
        return skip_valgrind(w, why);
    for (size_t i = 0; i < XS_COUNT_OF(privileged); i++)
        if (strcmp(name, privileged[i]) == 0) {
            *why = "it takes LD_PRELOAD away from the program: put 'xsigma run --' behind it";
            return XS_WRAPPER_LOST;
        }
    for (size_t i = 0; i < XS_COUNT_OF(launchers); i++)
        if (strcmp(name, launchers[i]) == 0)
            return XS_WRAPPER_SPREAD;
    for (size_t i = 0; i < XS_COUNT_OF(forms); i++)
        if (strcmp(name, forms[i].name) == 0)
            return skip_form(&forms[i], w);
    return XS_WRAPPER_NONE;
}
