/* tool/supervise.h - runs a program to its end, as if it stood in our place.
 *
 * It stays in the foreground of the terminal and gets the signals that are sent to us.
 * Context: the command, one thread, no other children.
 */
#ifndef XS_TOOL_SUPERVISE_H
#define XS_TOOL_SUPERVISE_H

#include <sys/types.h>

struct xs_ended {
    pid_t pid;
    int status; /* as waitpid gives it */
};

/* execvp of `file`: errno, if it could not be started. */
int xs_supervise(const char *file, char **argv, struct xs_ended *out);

/* Ends this process as the program ended, by its status or its signal. */
_Noreturn void xs_end_as(const struct xs_ended *e);

#endif
