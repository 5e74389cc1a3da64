/* sys/record.h - a small file that a process shares with the `xsigma` command, so that it can be
 * asked and told things although nobody compiled it for that.
 *
 * DIRECTORY/xsigma-UID-PID, mode 0600, mapped by both. It begins with who the process is; then
 * comes one slot for a request and its answer:
 *
 *     turn = number * 4 + state:   IDLE -> ASKED    the command wrote a request
 *                                  ASKED -> TAKEN   the process found it, in a call of its own
 *                                  ASKED -> IDLE    the command grew tired of waiting
 *                                  TAKEN -> DONE    the answer is there
 *                                  DONE -> ASKED    the next request
 *
 * Commands exclude each other by flock; the process only ever looks at the word `turn`. Later
 * versions put more behind `head.bytes`; a reader asks for no more than it knows.
 *
 * The whole file is allocated before it is mapped, as touching a page that a full tmpfs cannot
 * supply raises SIGBUS. (Whoever may write the file may also cut it short: that is the user
 * himself.)
 *
 * Units:   bytes; `started` in clock ticks since boot, as /proc has it.
 * Owns:    create: the file and its mapping, until xs_record_remove or _forget.
 * Threads: one struct xs_record_file, one thread; the mapped words by their atomics.
 * Context: inside cudaMalloc. Allocates: pages. errno is changed.
 * Errors:  errno as the return value.
 */
#ifndef XS_SYS_RECORD_H
#define XS_SYS_RECORD_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/compiler.h"

#define XS_RECORD_MAGIC   UINT64_C(0x000a616d67697378) /* "xsigma\n" */
#define XS_RECORD_VERSION 1
#define XS_RECORD_BYTES   ((size_t)16 << 10)

enum xs_record_state { XS_RECORD_IDLE, XS_RECORD_ASKED, XS_RECORD_TAKEN, XS_RECORD_DONE };
#define XS_RECORD_STATE(turn) ((enum xs_record_state)((turn)&3))

enum xs_record_command {
    XS_RECORD_STATS = 1,
    XS_RECORD_CLEAR,
    XS_RECORD_LIMIT, /* argument: bytes */
    XS_RECORD_DEFRAGMENT
};

struct xs_record_head {
    uint64_t magic; /* written last */
    uint32_t version;
    uint32_t bytes; /* of the file */
    int32_t pid;
    uint32_t uid;
    uint64_t started;
    uint64_t pid_space; /* inode of the namespace that `pid` belongs to */
    char program[64];
};

struct xs_record {
    struct xs_record_head head;
    _Alignas(XS_NO_SHARE) _Atomic uint64_t turn;
    uint32_t command;
    int32_t device; /* -1: all */
    uint64_t argument;
    int32_t result; /* 0 or errno */
    uint32_t text_len;
    _Alignas(XS_NO_SHARE) char text[];
};

#define XS_RECORD_TEXT (XS_RECORD_BYTES - sizeof(struct xs_record))

struct xs_record_file {
    struct xs_record *at; /* NULL: none */
    pid_t pid;
    char path[256];
};

/* ---- the process ---- */

int xs_record_create(struct xs_record_file *f, const char *directory, const char *program);
bool xs_record_is_mine(const struct xs_record_file *f); /* not in a vfork child */
/* At exit: the file goes, the mapping stays, as other threads may be looking at it. */
void xs_record_remove(struct xs_record_file *f);
/* In a child after fork: the file is the parent's. */
void xs_record_forget(struct xs_record_file *f);

/* Files of this user's dead processes go: at most `limit` of them. */
void xs_record_reap(const char *directory, unsigned limit);

/* ---- the command ---- */

/* To the end of the command, which no other one can open it for.
 * ENOENT: no such file. ESRCH: the process that made it is gone. EPERM: not this user's own plain
 * file. EBADMSG: not one of ours. ENOTSUP: of another version. EBUSY: another command has it. */
int xs_record_open(struct xs_record_file *f, const char *directory, pid_t pid);

/* Calls `use` for each live process of this user; the head is a copy. Returns how many. */
unsigned xs_record_each(const char *directory,
                        void (*use)(const struct xs_record_head *head, void *arg), void *arg);

#endif
