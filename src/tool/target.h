/* tool/target.h - which ELF file a command would really run, and whether it can be preloaded.
 *
 * Follows PATH, scripts ("#!", and shell scripts without it) and programs that do nothing but start
 * another one (tool/wrapper.h), as the kernel, execvp and they themselves would.
 * Owns:    nothing; works in static memory, so that one command is examined at a time.
 * Context: an ordinary program, one thread.
 */
#ifndef XS_TOOL_TARGET_H
#define XS_TOOL_TARGET_H

#include <limits.h>

#include "tool/elf_file.h"

struct xs_target {
    char first[PATH_MAX]; /* what to execute, once PATH was searched */
    char path[PATH_MAX];  /* the ELF file at the end, as far as it was found */
    bool is_examined;     /* `elf` is filled in */
    struct xs_elf_file elf;
    const char *parent; /* the wrapper that stays as its parent, or NULL */
    int status;         /* 0: LD_PRELOAD would reach it; else the exit status of `run` */
    char reason[768];   /* why not, one line */
    char note[512];     /* "" or one line about what was met on the way */
};

/* Writes one line where that wrapper's is the only report that there will be; by the configuration.
 */
bool xs_target_not_reported(const struct xs_target *t, char *line, size_t cap);

void xs_target_find(struct xs_target *t, char *const argv[]);

#endif
