/* cuda_shim/table.h - the hooked calls by name, and the driver's own function behind each.
 *
 * Units:   none.
 * Owns:    nothing.
 * Threads: any; `xs_shim_real` is filled before xs_shim_driver first gives an answer.
 * Context: inside the program's dlsym and CUDA calls. Allocates: never.
 * Errors:  XS_HOOK_COUNT: not one of ours.
 */
#ifndef XS_CUDA_SHIM_TABLE_H
#define XS_CUDA_SHIM_TABLE_H

#include "base/compiler.h"
#include "cuda_shim/hooks.h"

/* The newest CUDA whose headers, or whose driver, the lists were compared with. */
#define XS_HOOK_NEWEST 13020

/* The driver's own; NULL where it has none. Read by the assembler too. */
extern XS_HIDDEN void *xs_shim_real[XS_HOOK_COUNT];

/* Of the type of the symbol. */
#define XS_REAL(symbol) ((__typeof__(&symbol))(uintptr_t)xs_shim_real[XS_HOOK_##symbol])

const char *xs_hook_symbol(enum xs_hook hook);

/* By the exported name, exactly. */
enum xs_hook xs_hook_find(const char *symbol);

/* Which hooked call cuGetProcAddress answered with, asked for a name: the address is that of the
 * symbol, or of no symbol known here. Then *by_version is set: what a driver of this version means
 * by name, version and flags. */
enum xs_hook xs_hook_answered(const char *name, const void *address, int version, uint64_t flags,
                              bool *by_version);

/* What to hand out instead of the driver's own: the hook itself. */
void *xs_hook_entry(enum xs_hook hook);

#endif
