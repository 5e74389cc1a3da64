/* backend/backend.h - what every CPU back end offers, and the table of them.
 * Units:   bytes.
 * Threads: every function of an open back end may be called from any thread at any time.
 * Context: calls: inside malloc. open: in our constructor, where dlopen is allowed.
 * Errors:  allocation: NULL with errno ENOMEM. open: errno, and why as one line.
 *
 * Preconditions are settled by the caller (preload/malloc.c): alignments are powers of two of at
 * least 16, and size and alignment together at most PTRDIFF_MAX; reallocated pointers are not NULL
 * and their new size is not 0. malloc, zalloc and realloc get any size: what is too large fails.
 */
#ifndef XS_BACKEND_BACKEND_H
#define XS_BACKEND_BACKEND_H

#include "base/fmt.h"
#include "core/heap.h"
#include "stats/stats.h"

/* The calls of one back end, or of a policy in front of several. Pointers passed in may belong to
 * anybody: whose they are is found out first. */
struct xs_calls {
    void *(*malloc)(size_t size);
    void *(*zalloc)(size_t size); /* zeroed */
    void *(*realloc)(void *p, size_t size);
    void *(*memalign)(size_t align, size_t size);
    void (*free)(void *p); /* NULL allowed; keeps errno */
};

/* What a back end can say about its memory; XS_UNKNOWN where it cannot. */
#define XS_UNKNOWN UINT64_MAX
struct xs_backend_memory {
    uint64_t in_use_bytes;   /* in blocks handed out, by the library's own count */
    uint64_t reserved_bytes; /* obtained from the system and not given back */
    uint64_t reserved_peak_bytes;
    const char *source; /* who counted, for the report: "mallinfo2" */
};

/* Beyond this alignment only the C library is asked: mimalloc refuses 32 MiB. */
#define XS_ALIGN_OTHERS_MAX ((size_t)16 << 20)

/* Who counts: nobody; each thread; or the only one there is, where no thread need be asked for. */
enum xs_counting { XS_COUNTING_OFF, XS_COUNTING_EACH, XS_COUNTING_ALONE };

/* Ways around the route, for the back end that serves the smallest sizes. */
struct xs_shortcuts {
    uintptr_t from, below; /* pointers in between are certainly its own */
    void (*free)(void *p);
    void *(*malloc)(size_t size); /* or NULL; right where all sizes up to `last` are its own */
    void *(*zalloc)(size_t size); /* the same */
    size_t last;
};

struct xs_backend_options {
    const char *mimalloc_library;
    uint64_t mimalloc_reserve_bytes; /* 0: no reservation */
    bool mimalloc_reserve_is_given;  /* by the user, who says that it suffices */
    uint64_t mimalloc_huge_gib;
    bool mimalloc_show_stats;
    bool mimalloc_verbose;
    bool mimalloc_eager_commit;
    bool mimalloc_large_pages;
    const char *tbb_library;
    bool tbb_huge_pages;
    struct xs_heap_options bfc;
    uint64_t quarantine_bytes; /* of the hardened core */
};

struct xs_backend {
    const char *name;
    enum xs_owner owner;
    /* Where calls are counted when they are served, by whatever table: takes an allocation of
     * `size` bytes and a free off again. NULL: only the counting table counts. */
    void (*uncount_move)(size_t size);
    void (*uncount_failure)(size_t size); /* an allocation that failed was not the program's */
    /* 0, or errno with a reason in *why; called once. A warning may be left in *why with 0. */
    int (*open)(const struct xs_backend_options *options, struct xs_buf *why);
    /* The table to use after open: plain, or counting into the caller's slot. */
    const struct xs_calls *(*calls)(bool counted);
    /* May leave them as they are. NULL: it has none. */
    void (*shortcuts)(struct xs_shortcuts *s, enum xs_counting counting);
    /* On a pointer that is known to be this back end's, plain and counting. */
    void (*free_own)(void *p);
    void (*free_own_counted)(void *p);
    void *(*realloc_own)(void *p, size_t size);
    void *(*realloc_own_counted)(void *p, size_t size);
    size_t (*usable_size)(void *p);
    bool (*trim)(size_t pad); /* true if memory may have gone back to the system */
    /* `may_lock` is false where a lock of the library may be held by the caller itself. */
    void (*memory)(struct xs_backend_memory *m, bool may_lock);
    /* Around fork in a process with threads: takes and gives its locks. NULL: it has no need. */
    void (*fork_prepare)(void);
    void (*fork_parent)(void);
    /* In the child of a fork: false = not usable there, its blocks can only be read and dropped. */
    bool (*survives_fork)(bool was_threaded);
};

/* The object (its link map, and *object its path) whose malloc the program means, if that is
 * neither the C library's nor to be replaced; or NULL. */
const void *xs_system_other(const char **object);

/* Before the first use of the C library's malloc in a process where it may never have been used: it
 * then asks for random bytes, which is a point of cancellation, and a thread that ended there would
 * leave it half made. Cheap once done. */
void xs_system_begin(void);

extern const struct xs_backend xs_backend_system;
extern const struct xs_backend xs_backend_mimalloc;
extern const struct xs_backend xs_backend_tbb;
extern const struct xs_backend xs_backend_bfc;

/* By name, or NULL. */
const struct xs_backend *xs_backend_find(const char *name, size_t len);

/* Opens if not open yet: 0, or errno (the same each time) with the reason of the first failure. */
int xs_backend_open(enum xs_owner owner, const struct xs_backend_options *options,
                    struct xs_buf *why);
bool xs_backend_is_open(enum xs_owner owner);

/* No new blocks from it, for the rest of the process. */
void xs_backend_retire(enum xs_owner owner);

#endif
