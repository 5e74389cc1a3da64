/* sys/record_read.h - the sections of a record, or of a copy of one, out of bytes that may be
 * anything: a file that was cut short, another user's joke, half written.
 *
 * Units:   bytes. Owns: nothing.
 * Threads: pure functions; the bytes must not change meanwhile, so a live process's are copied.
 * Context: the command. Allocates: never.
 * Errors:  errno as the return value, or NULL.
 */
#ifndef XS_SYS_RECORD_READ_H
#define XS_SYS_RECORD_READ_H

#include "sys/record.h"

struct xs_record_bytes {
    const unsigned char *at; /* aligned to a page */
    size_t bytes;
};

/* 0; EBADMSG: not a record, or damaged. ENOTSUP: of another version. */
int xs_record_check(const struct xs_record_bytes *r, struct xs_record_head *head);

/* The part of the `n`th section of that kind that is there, NULL past the last one; a whole
 * multiple of `unit`, *count of them. Of a checked record. */
const void *xs_record_find(const struct xs_record_bytes *r, enum xs_record_section kind, unsigned n,
                           size_t unit, size_t *count);

uint32_t xs_record_left_out(const struct xs_record_bytes *r);

#endif
