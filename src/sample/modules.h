/* sample/modules.h - the objects that are loaded, from a list of one's own, so that no lock of the
 * loader is taken in a sample.
 *
 * The list is made at start; after that, an address that it does not know is asked about by
 * _dl_find_object, which never waits. What was loaded later is forgotten when any object goes.
 * Units:   bytes.
 * Threads: one at a time, except where marked [any].
 * Context: a sample. Allocates: nothing.
 * Errors:  0 or false = not known.
 */
#ifndef XS_SAMPLE_MODULES_H
#define XS_SAMPLE_MODULES_H

#include <link.h>

#include "sample/cfi.h"
#include "sample/sites.h"

/* In our constructor, once or more: enters what is loaded. False: this C library cannot tell by
 * address. */
bool xs_modules_open(void);

/* From now on what is met goes into the record too. */
void xs_modules_record(void);

/* Enters the object that the address lies in, if it is new: true if it was. */
bool xs_modules_learn(uintptr_t address);
bool xs_modules_know(uintptr_t address);

/* Forgets what may be gone: true if anything may have changed since the last call. */
bool xs_modules_refresh(void);

/* Nothing may have changed since. [any] */
bool xs_modules_is_fresh(void);

/* As struct xs_site has it. */
uint64_t xs_modules_frame(uintptr_t address);
bool xs_modules_is_ours(uintptr_t address);

/* False: it has no table. */
bool xs_modules_table(uintptr_t address, struct xs_cfi_table *out);

/* NULL: none yet. [any] */
struct xs_site_modules *xs_modules_section(void);

/* An object is about to be closed, and has been. [any] */
void xs_modules_closing(void);
void xs_modules_closed(void);

/* What dl_iterate_phdr would tell, from the list. */
int xs_modules_each(int (*use)(struct dl_phdr_info *info, size_t size, void *arg), void *arg);

void xs_modules_fork_child(void);

#endif
