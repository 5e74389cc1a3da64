/* sys/record.h - a file that a process shares with the `xsigma` command: what it has counted lives
 * there, so that it outlasts the process, and a slot by which it can be asked and told things.
 *
 * DIRECTORY/xsigma-UID-PID, mode 0600, mapped by both. The first XS_RECORD_BYTES are struct
 * xs_record: who the process is, one slot for a request and its answer, and where in the file the
 * sections lie, whole pages each, appended as they are needed.
 *
 *     turn = number * 4 + state:   IDLE -> ASKED    the command wrote a request
 *                                  ASKED -> TAKEN   the process found it, in a call of its own
 *                                  ASKED -> IDLE    the command grew tired of waiting
 *                                  TAKEN -> DONE    the answer is there
 *                                  DONE -> ASKED    the next request
 *
 * Commands exclude each other by flock; the process only ever looks at the word `turn`.
 *
 * What the process counts does not move: a section is an area of its memory, whole pages, private
 * to begin with. When there is a record the area is copied to the file and the file mapped over it,
 * at the same address, so that a counter is a plain word to whoever counts. In the child of a fork
 * fresh pages come in the same place.
 *
 * Every page is allocated before it is touched, as one that a full tmpfs cannot supply raises
 * SIGBUS; of what is large the first page only, until there is something to put there. (Whoever may
 * write the file may also cut it short: that is the user himself.) A process without a record, or
 * whose file cannot grow, goes on with private areas.
 *
 * Units:   bytes; `made` in clock ticks since boot, as /proc has it.
 * Owns:    the process's file and the mapping of its first part; no descriptor is kept.
 * Threads: any, for areas and sections. create, remove, keep, fork_child: one thread.
 * Context: inside malloc. Allocates: pages. Errno is changed, no point of cancellation is passed.
 * Errors:  errno as the return value.
 */
#ifndef XS_SYS_RECORD_H
#define XS_SYS_RECORD_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/compiler.h"

#define XS_RECORD_MAGIC    UINT64_C(0x000a616d67697378) /* "xsigma\n" */
#define XS_RECORD_VERSION  6
#define XS_RECORD_BYTES    ((size_t)16 << 10)
#define XS_RECORD_PAGE     4096
#define XS_RECORD_SECTIONS 128

enum xs_record_state { XS_RECORD_IDLE, XS_RECORD_ASKED, XS_RECORD_TAKEN, XS_RECORD_DONE };
#define XS_RECORD_STATE(turn) ((enum xs_record_state)((turn)&3))

enum xs_record_command {
    XS_RECORD_STATS = 1, /* of devices, as text */
    XS_RECORD_CLEAR,
    XS_RECORD_LIMIT, /* argument: bytes */
    XS_RECORD_DEFRAGMENT,
    XS_RECORD_SNAPSHOT /* what is only brought up to date now and then is so now */
};

/* What a section holds. Of HEAPS, SLOTS and the like there may be several. */
enum xs_record_section {
    XS_RECORD_PROCESS = 1,  /* struct xs_image_process, report/image.h */
    XS_RECORD_CONFIG,       /* struct xs_image_config */
    XS_RECORD_GPU,          /* struct xs_image_gpu for each device */
    XS_RECORD_SLOTS,        /* struct xs_slot_block, stats/stats.h */
    XS_RECORD_HEAPS,        /* struct xs_heap_counts, core/heap_counts.h: one a page */
    XS_RECORD_SWITCH,       /* struct xs_counted_switched, stats/stats.h */
    XS_RECORD_TIMELINE,     /* struct xs_timeline, report/timeline.h */
    XS_RECORD_TIMELINE_GPU, /* struct xs_timeline_gpu */
    XS_RECORD_SITES,
    XS_RECORD_MODULES,
    XS_RECORD_LATENCY, /* struct xs_latency_counts, stats/latency.h */
    XS_RECORD_SIZES    /* struct xs_size_counts, stats/stats.h */
};

struct xs_record_entry {
    uint32_t kind;
    uint32_t unused;
    uint64_t offset; /* in the file */
    uint64_t bytes;
};

struct xs_record_head {
    uint64_t magic; /* written last */
    uint32_t version;
    uint32_t bytes; /* of struct xs_record */
    int32_t pid;
    uint32_t uid;
    uint64_t made;      /* no process that began later can have made it */
    uint64_t pid_space; /* inode of the namespace that `pid` belongs to */
    char program[64];
    uint32_t reported; /* a command has shown what it holds, the process being gone */
    uint32_t ended;    /* the process itself has come to its end: nothing is missing */
    uint32_t uses_cuda;
};

struct xs_record {
    struct xs_record_head head;
    _Atomic uint32_t sections; /* entries that are whole */
    uint32_t left_out;         /* areas of counts that stayed private, for want of room or means */
    struct xs_record_entry section[XS_RECORD_SECTIONS];
    _Alignas(XS_NO_SHARE) _Atomic uint64_t turn;
    uint32_t command;
    int32_t device; /* -1: all */
    uint64_t argument;
    int32_t result; /* 0 or errno */
    uint32_t text_len;
    _Alignas(XS_NO_SHARE) char text[];
};

#define XS_RECORD_TEXT (XS_RECORD_BYTES - sizeof(struct xs_record))

/* ---- the process ---- */

/* The record of this process, with all areas that there are. EFBIG: a limit on the size of files.
 * EEXIST: all its names are taken by processes of other namespaces. */
int xs_record_create(const char *directory, const char *program);

/* NULL: there is none, or this is a vfork child in its parent's memory. */
struct xs_record *xs_record_mine(void);

/* `at` and `bytes` are whole pages that stay where they are for good. False: there are too many; it
 * is not known of then, and a fork leaves it as it is. */
bool xs_record_area(enum xs_record_section kind, void *at, size_t bytes);

/* Zeroed memory in the record, or outside it while there is none; it reads as zero again in the
 * child of a fork. NULL: out of memory, or too many. */
void *xs_record_section(enum xs_record_section kind, size_t bytes);

/* Of areas of the kinds XS_RECORD_PROCESS and XS_RECORD_TIMELINE* only the first page may be
 * written to before this; true: so many bytes may be now. */
bool xs_record_fill(const void *at, size_t bytes);

/* The same for some bytes in the middle, while those before them are without pages still: one place
 * in all areas, which may be asked for again with more bytes. */
bool xs_record_fill_part(const void *at, size_t from, size_t bytes);

/* The same for `text` of struct xs_record, from its first page on. */
bool xs_record_fill_text(void);

/* At exit: the file goes, the mapping stays, as other threads may be looking at it. */
void xs_record_remove(void);

/* The same, but the file stays, as DIRECTORY/PROGRAM.PID.HOST.xsr. */
int xs_record_keep(const char *host);

/* No system call for the record's sake any more. */
void xs_record_freeze(void);

/* In the child of a fork: the file is the parent's. All areas read as zero, and there is no record.
 */
void xs_record_fork_child(void);

/* Files of this user's dead processes go if they were reported, are old, or are many: of at most
 * `limit` that are looked at. */
void xs_record_reap(const char *directory, unsigned limit);

/* ---- the command ---- */

struct xs_record_file {
    struct xs_record *at; /* NULL: none */
    int fd;               /* bears the lock */
    pid_t pid;
    char path[256];
};

/* Until xs_record_close, no other command can open it.
 * ENOENT: no such file. ESRCH: the process that made it is gone. EPERM: not this user's own plain
 * file. EBADMSG: not one of ours. ENOTSUP: of another version. EBUSY: another command has it. */
int xs_record_open(struct xs_record_file *f, const char *directory, pid_t pid);

void xs_record_close(struct xs_record_file *f);

/* Calls `use` for each process of this user that has a record; the head is a copy. Returns how
 * many live. */
unsigned xs_record_each(const char *directory,
                        void (*use)(const struct xs_record_head *head, bool is_alive, void *arg),
                        void *arg);

/* The process may still write to its record. Those of other namespaces count as alive. */
bool xs_record_is_alive(const struct xs_record_head *head);

/* ---- what both sides use ---- */

/* DIRECTORY/xsigma-UID-PID, and with -N behind it for N from 2 on: containers that share the
 * directory may have processes of the same number. */
#define XS_RECORD_NAMES 8
bool xs_record_path(char *out, size_t cap, const char *directory, pid_t pid, unsigned n);

/* That of the process of this namespace, or the first one if none is there. */
bool xs_record_path_now(char *out, size_t cap, const char *directory, pid_t pid);

/* A record of a process in another namespace. */
bool xs_record_is_foreign(const char *path);

uint64_t xs_record_now(void); /* in the ticks that tell when a process began */

uint64_t xs_record_pid_space(void); /* ours */

/* A descriptor of a plain file that this user alone may write, else -1 and errno. */
int xs_record_open_own(const char *path, int access);

#endif
