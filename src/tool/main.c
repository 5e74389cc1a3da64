#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool/tool.h"
#include "xsigma.h"

const struct xs_verb xs_verbs[] = {
    {"run", "run a program with libxsigma.so preloaded", xs_help_run, xs_tool_run},
    {"doctor", "say whether it would take effect on a program", xs_help_doctor, xs_tool_doctor},
    {"vars", "list the XSIGMA_* variables and their values", xs_help_vars, xs_tool_vars},
    {"report", "show what processes counted, running or gone", xs_help_report, xs_tool_report},
    {"diff", "show what is different between two reports", xs_help_diff, xs_tool_diff},
    {"top", "watch a running process", xs_help_top, xs_tool_top},
    {"tune", "find the settings that serve a program best", xs_help_tune, xs_tool_tune},
    {"gpu", "ask or tell running processes about their device memory", xs_help_gpu, xs_tool_gpu},
    {"help", "explain a verb", xs_help_help, xs_tool_help},
    {NULL, NULL, NULL, NULL},
};

const struct xs_verb *xs_verb_find(const char *name)
{
    for (const struct xs_verb *v = xs_verbs; v->name != NULL; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

void xs_tool_error(const char *format, ...)
{
    va_list ap;

    fflush(stdout);
    va_start(ap, format);
    fputs("xsigma: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

int xs_tool_refuse(const char *verb, const char *word, const char *what)
{
    if (word[0] == '-' && word[1] != '\0')
        what = "no option";
    xs_tool_error("%s: '%s' is %s; see 'xsigma help %s'", verb, word,
                  what != NULL ? what : "too much", verb);
    return XS_EXIT_USAGE;
}

static int unknown_verb(const char *name)
{
    struct xs_nearest nearest;

    xs_nearest_init(&nearest, name);
    for (const struct xs_verb *v = xs_verbs; v->name != NULL; v++)
        xs_nearest_try(&nearest, v->name);
    if (nearest.best != NULL)
        xs_tool_error("no verb '%s'; did you mean '%s'?", name, nearest.best);
    else if (name[0] == '-' || name[0] == '\0')
        xs_tool_error("'%s' is neither a verb nor an option; see 'xsigma help'", name);
    else
        xs_tool_error("no verb '%s'; see 'xsigma help', or 'xsigma run -- %s' to run a program",
                      name, name);
    return XS_EXIT_USAGE;
}

/* A full disk or a closed pipe must not look like success. */
static int finish(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    xs_tool_error("standard output: %s",
                  errno != 0 ? strerror(errno) : "not all of it could be written");
    return status == XS_EXIT_OK ? XS_EXIT_NO : status;
}

int main(int argc, char **argv)
{
    const struct xs_verb *verb;

    if (argc < 2) {
        xs_tool_error("no verb; see 'xsigma help'");
        return XS_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        puts("xsigma " XSIGMA_VERSION);
        return finish(XS_EXIT_OK);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        xs_help_print_all();
        return finish(XS_EXIT_OK);
    }
    if (strcmp(argv[1], "--probe") == 0)
        return finish(xs_tool_probe());
    verb = xs_verb_find(argv[1]);
    if (verb == NULL)
        return unknown_verb(argv[1]);
    if (xs_help_asked(argc - 1, argv + 1)) {
        fputs(verb->help, stdout);
        return finish(XS_EXIT_OK);
    }
    return finish(verb->run(argc - 1, argv + 1));
}
