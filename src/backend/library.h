/* backend/library.h - a back end's shared library, loaded when the policy asks for it.
 *
 * By dlopen and never as a dependency: a missing file must not keep programs from starting, and its
 * malloc and C++ operators must not enter the global scope.
 * Threads: the constructor's only. Allocates: dlopen does, through our own malloc.
 * Errors:  NULL or errno, with the reason in *why.
 */
#ifndef XS_BACKEND_LIBRARY_H
#define XS_BACKEND_LIBRARY_H

#include "base/fmt.h"

struct xs_symbol {
    const char *name;
    void *to; /* address of the function pointer to fill in */
    bool optional;
};

/* The first that can be opened of the `names`, which have ':' between them. */
void *xs_library_open(const char *names, struct xs_buf *why);

/* All of `symbols` of the library called `name`; ENOENT names the first that is missing. */
int xs_library_symbols(void *library, const char *name, const struct xs_symbol *symbols,
                       size_t count, struct xs_buf *why);

/* Whether the blocks of a library can be trusted if it is a mimalloc, else why not. */
bool xs_mimalloc_suits(void *library, struct xs_buf *why);

#endif
