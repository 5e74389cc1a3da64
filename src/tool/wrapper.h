/* tool/wrapper.h - programs that start another program, and where its name stands among their
 * arguments.
 * Owns:    nothing but static memory for split texts.
 * Context: an ordinary program, one thread.
 */
#ifndef XS_TOOL_WRAPPER_H
#define XS_TOOL_WRAPPER_H

#include "base/compiler.h"

/* Words of a command: a few of our own making, then the rest of an argv. */
#define XS_WORDS_MAX 32
struct xs_words {
    const char *head[XS_WORDS_MAX];
    size_t head_len;
    char *const *tail;
};

const char *xs_words_peek(const struct xs_words *w); /* NULL at the end */
const char *xs_words_take(struct xs_words *w);
bool xs_words_push(struct xs_words *w, const char *word); /* in front; false: no room */

/* A copy that lives as long as the process; NULL when there is no more room. */
const char *xs_words_keep(const char *text, size_t len);

enum xs_wrapper {
    XS_WRAPPER_NONE,    /* it is no wrapper */
    XS_WRAPPER_FOLLOW,  /* the words now begin with the command that it starts */
    XS_WRAPPER_PARENT,  /* likewise, and it stays as the parent of that */
    XS_WRAPPER_ALONE,   /* it starts nothing */
    XS_WRAPPER_UNCLEAR, /* options that we do not know: no telling */
    XS_WRAPPER_LOST,    /* it starts the command without our LD_PRELOAD */
    XS_WRAPPER_SPREAD,  /* it starts the command on other hosts too, without our environment */
};

/* Takes the wrapper's own arguments off *w, whose first word, the wrapper, is gone already.
 * *why says how LD_PRELOAD is lost; *search becomes the PATH for the command where it changes. */
enum xs_wrapper xs_wrapper_skip(const char *name, struct xs_words *w, const char **why,
                                const char **search);

#endif
