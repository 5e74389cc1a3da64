/* sys/elf.h - which loaded object defines a symbol, read from the loader's own link map.
 *
 * dlsym allocates on a miss, takes the loader's lock and depends on its caller's address; this
 * look-up does none of it, and so works in the first malloc of a process, inside dlopen, and from
 * any thread.
 * Units:   none.
 * Owns:    nothing; results live as long as their object stays loaded.
 * Threads: any; the caller must know that the objects it asks about are not being unloaded. The
 *          program, its dependencies and we ourselves never are.
 * Context: inside malloc, before main. Allocates: never.
 * Errors:  NULL = no such definition.
 * Source:  the gABI's hash table and the GNU hash section, as glibc's loader reads them.
 */
#ifndef XS_SYS_ELF_H
#define XS_SYS_ELF_H

#include "base/compiler.h"

/* In the C library itself, whatever else defines the name. */
void *xs_elf_libc(const char *name);

/* The first definition in an object loaded after us: what the name would mean without us. */
void *xs_elf_next(const char *name);

/* A definition in an object that is searched before us (the program, earlier preloads); *object
 * becomes its path, "" for the program. */
void *xs_elf_before(const char *name, const char **object);

/* The object (its link map) that defines the first of the names, if another imports one of them;
 * *object becomes its path. Each name has its NUL, an empty one ends them. */
const void *xs_elf_imported(const char *names, const char **object);

/* The object that defines one of the names, if `part` is in its path, which is looked at first;
 * *object becomes its path. Each name has its NUL, an empty one ends them. */
const void *xs_elf_defining(const char *names, const char *part, const char **object);

/* The path of a loaded object whose file's name begins with `prefix` but not with `other`, or NULL.
 */
const char *xs_elf_loaded(const char *prefix, const char *other);

/* In one object, by its link map (struct link_map, as dlinfo gives it). */
void *xs_elf_in(const void *link_map, const char *name);

/* The object's own calls of the function go to `to` from now on: false if it makes none through its
 * table of imports. What it asks for must have been found (RTLD_NOW). */
bool xs_elf_redirect(const void *link_map, const char *name, const void *to);

#endif
