/* report/image.h - the section XS_RECORD_PROCESS: a snapshot that is brought up to date now and
 * then, for what does not count by itself in the record, and the settings. And how a record, or a
 * copy of one, becomes a snapshot again.
 *
 * Units:   as report/report.h.
 * Owns:    the process's image, an area of its record.
 * Threads: one updates it, others go on; readers see by `changes` that it was being written.
 * Context: updates: inside malloc, exit handlers. Allocates: never.
 *          Reading: the command; the bytes may be anything.
 * Errors:  errno as the return value.
 */
#ifndef XS_REPORT_IMAGE_H
#define XS_REPORT_IMAGE_H

#include "report/report.h"
#include "report/timeline.h"
#include "sys/record.h"
#include "sys/record_read.h"

#define XS_IMAGE_CONFIG_BYTES 4096

struct xs_image {
    _Alignas(XS_RECORD_PAGE) uint64_t struct_bytes; /* another build's is not read */
    char version[16];
    uint64_t start_ns;        /* of the process, as CLOCK_MONOTONIC has it */
    _Atomic uint64_t changes; /* odd while it is written */
    uint32_t config_bytes;
    uint32_t config_is_cut;
    /* What pointers in the snapshot point to, which mean nothing by themselves. */
    char how[16];
    char passive_owner[128];
    char source[XS_OWNER_COUNT][16];
    struct xs_report report; /* up to here a first snapshot stays within one page */
    char gpu_backend[XS_REPORT_GPUS][48];
    /* NAME=VALUE, tab, source, newline for each setting that is not the default; then the warnings,
     * an exclamation mark before each. */
    char config[XS_IMAGE_CONFIG_BYTES];
};

/* ---- the process ---- */

/* Becomes an area of the record. Once, before that is made. */
void xs_image_start(void);

/* The record has just been made: the settings, and a first snapshot. */
void xs_image_begin(const char *passive_owner);

/* When a snapshot is due, or `now`: takes one, without system calls and without waiting. */
void xs_image_look(bool now);

/* The process's own last words. */
void xs_image_end(const struct xs_report *r);

/* Since its first look this process has become another, and no fork handler ran. One load, but for
 * the first. */
bool xs_image_is_copied(void);

void xs_image_fork_child(void);

/* ---- the command ---- */

/* What was read of a record, with room for what its snapshot points to. About 300 KiB. */
struct xs_recorded {
    struct xs_record_head head;
    struct xs_report report;
    bool was_torn; /* the snapshot was being written */
    uint64_t start_ns;
    uint32_t config_bytes;
    char config[XS_IMAGE_CONFIG_BYTES + 1];
    char how[16];
    char passive_owner[128];
    char source[XS_OWNER_COUNT][16];
    char gpu_backend[XS_REPORT_GPUS][48];
    struct xs_timeline timeline;
    struct xs_timeline_gpu timeline_gpu[XS_REPORT_GPUS];
};

/* EBADMSG: damaged. ENOTSUP: of another version. ENODATA: the process had not begun to record.
 * Counts are exact, levels those of the last look. */
int xs_image_read(const struct xs_record_bytes *record, struct xs_recorded *out);

/* Calls `use` for each setting and each warning (name NULL) of the record, in order. */
void xs_image_each_setting(const struct xs_recorded *r,
                           void (*use)(const char *name, const char *text, const char *source,
                                       void *arg),
                           void *arg);

#endif
