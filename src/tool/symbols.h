/* tool/symbols.h - names of addresses: functions, also those compiled into others, files and lines.
 *
 * By elfutils' libdw, which is opened when it is first needed; without it, or where a file is not
 * the one that was loaded any more, there are none. Nothing is fetched from anywhere.
 * Owns:    what was opened and found, to the end of the command.
 * Context: the command, one thread. Errors: an address without names.
 */
#ifndef XS_TOOL_SYMBOLS_H
#define XS_TOOL_SYMBOLS_H

#include "report/sites.h"

/* Calls `use` for each function at the address, innermost first; at least once. The texts stay.
 * `id_bytes` 0: not known. */
void xs_symbols_at(const char *module, const uint8_t *build_id, size_t id_bytes, uint64_t address,
                   xs_use_frame *use, void *arg);

/* Why there are no names, once, or NULL. */
const char *xs_symbols_trouble(void);

#endif
