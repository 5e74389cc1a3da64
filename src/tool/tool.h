/* tool/tool.h - what the files of the `xsigma` command share: exit statuses, verbs, messages.
 * Context: an ordinary program; libc and malloc are allowed.
 */
#ifndef XS_TOOL_TOOL_H
#define XS_TOOL_TOOL_H

#include "base/compiler.h"

/* Statuses of the command itself; `run` ends with its program's. */
enum {
    XS_EXIT_OK = 0,
    XS_EXIT_NO = 1,               /* doctor: it would not take effect; gpu: it was not done */
    XS_EXIT_REFUSED = 2,          /* run: it would not take effect */
    XS_EXIT_USAGE = 64,           /* as in sysexits.h */
    XS_EXIT_NOT_EXECUTABLE = 126, /* as shells have it */
    XS_EXIT_NOT_FOUND = 127,
};

struct xs_verb {
    const char *name;
    const char *summary; /* NULL: not listed */
    const char *help;
    int (*run)(int argc, char **argv); /* argv[0] is the verb */
};

extern const struct xs_verb xs_verbs[]; /* ends with a NULL name */

const struct xs_verb *xs_verb_find(const char *name);

int xs_tool_run(int argc, char **argv);
int xs_tool_doctor(int argc, char **argv);
int xs_tool_help(int argc, char **argv);
int xs_tool_vars(int argc, char **argv);
int xs_tool_gpu(int argc, char **argv);
int xs_tool_report(int argc, char **argv);
int xs_tool_diff(int argc, char **argv);
int xs_tool_top(int argc, char **argv);
int xs_tool_tune(int argc, char **argv);

/* Asked of a child by doctor: prints whose malloc it runs on. */
int xs_tool_probe(void);

extern const char xs_help_run[];
extern const char xs_help_doctor[];
extern const char xs_help_vars[];
extern const char xs_help_gpu[];
extern const char xs_help_report[];
extern const char xs_help_diff[];
extern const char xs_help_top[];
extern const char xs_help_tune[];
extern const char xs_help_help[];

void xs_help_print_all(void);
bool xs_help_asked(int argc, char **argv); /* --help or -h before the program's own arguments */

/* Where renderers write to stdout, and whether that may be more than ASCII. */
void xs_tool_sink(const char *text, size_t len, void *arg);
bool xs_tool_utf8(void);

/* "xsigma: ...", a line on stderr. */
void xs_tool_error(const char *format, ...) XS_FORMAT(1, 2);

/* Says of a word that a verb does not take that it is an unknown option, or else what `what` says,
 * NULL for too much: XS_EXIT_USAGE. */
int xs_tool_refuse(const char *verb, const char *word, const char *what);

/* The candidate nearest to `word`, NULL if all are more than 2 edits away. An edit is one
 * character more, less or different, or two exchanged; letter case counts for nothing. */
struct xs_nearest {
    const char *word;
    const char *best;
    unsigned distance;
};
void xs_nearest_init(struct xs_nearest *n, const char *word);
void xs_nearest_try(struct xs_nearest *n, const char *candidate);

#endif
