/* tool/settings.h - the options that run and doctor share, as changes of the environment.
 * Owns:    nothing; texts belong to the command line.
 * Context: an ordinary program, one thread.
 * Errors:  an exit status, after one line on stderr.
 */
#ifndef XS_TOOL_SETTINGS_H
#define XS_TOOL_SETTINGS_H

#include <limits.h>

#include "base/compiler.h"

struct xs_settings {
    const char *verb;
    const char *library_option; /* --lib, or NULL */
    const char *html;           /* --html, or NULL */
    const char *json;           /* --json, or NULL */
    bool children;              /* --children */
    char library[PATH_MAX];     /* absolute, after xs_settings_library */
    int program;                /* index of the program in argv; argc if there is none */
};

/* What belongs to the option argv[*i], whose name has `len` characters: what is behind its '=', or
 * the next word, which *i is the number of then. NULL: nothing does, or an empty word; "--" ends
 * the options. */
const char *xs_settings_value(int argc, char **argv, int *i, size_t len);

/* Reads the options and puts XSIGMA_* into the environment: 0 or an exit status. `runs`: those that
 * say where the report goes are taken too. */
int xs_settings_parse(struct xs_settings *s, int argc, char **argv, bool runs);

/* All processes report that the program starts: 0 or an exit status. */
int xs_settings_children(void);

/* The report goes to this file, as JSON: 0 or an exit status. */
int xs_settings_json(const char *file);

/* Finds the library and looks at it: 0, or an exit status with the reason in `why`. */
int xs_settings_library(struct xs_settings *s, char *why, size_t cap);

/* Puts the library in front of LD_PRELOAD, where it may stand already. */
int xs_settings_preload(const struct xs_settings *s);

/* The next entry of a list as LD_PRELOAD has it; *len is 0 at the end. */
const char *xs_preload_entry(const char *list, size_t *len);

/* The program's blocks are sampled, unless something says how or that not. 0, or an exit status. */
int xs_settings_sample(void);

#endif
