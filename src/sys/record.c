#include "sys/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/align.h"
#include "base/fmt.h"
#include "sys/io.h"
#include "sys/lock.h"
#include "sys/mem.h"

#define AREAS_MAX  4096
#define POOL_UNITS 64 /* the most that one section is made larger than what is needed at once */

_Static_assert(sizeof(struct xs_record) < XS_RECORD_BYTES / 2, "most of it is for answers");

struct area {
    char *at;
    uint64_t bytes;
    uint64_t offset; /* in the file; 0: private */
    uint64_t filled; /* so much of it has pages there */
    enum xs_record_section kind;
    bool is_blank; /* just mapped: need not be looked through */
};

/* Of the file, to be allocated before anything in it is touched. */
struct range {
    uint64_t from;
    uint64_t to;
};

/* Room in a section for more areas of one kind and size. */
struct pool {
    uint64_t next;
    uint64_t end;
    uint64_t units; /* so far, in all sections */
};

XS_FORKED static struct {
    struct xs_lock lock;
    struct xs_record *at;
    pid_t pid;
    bool is_frozen;
    bool is_gone; /* the file; the mapping may be looked at */
    dev_t device;
    ino_t inode;
    uint64_t bytes; /* of the file, in use */
    uint64_t size;  /* of the file */
    uint64_t head_filled;
    struct range apart; /* has pages, though what lies before it in its area may have none */
    uint32_t areas;
    struct pool heaps;
    struct pool slots;
    char directory[192];
    char path[256];
} own;

/* The first ones apart: a small process has no others, and no table. */
XS_FORKED static struct area first_areas[16];
static struct area *more_areas;

static struct area *area_at(uint32_t i)
{
    return i < XS_COUNT_OF(first_areas) ? &first_areas[i]
                                        : &more_areas[i - XS_COUNT_OF(first_areas)];
}

static bool has_room(void)
{
    if (own.areas == XS_COUNT_OF(first_areas) && more_areas == NULL)
        more_areas = xs_mem_map((AREAS_MAX - XS_COUNT_OF(first_areas)) * sizeof(more_areas[0]), 1);
    return own.areas < XS_COUNT_OF(first_areas) || (own.areas < AREAS_MAX && more_areas != NULL);
}

/* ---- the file ----------------------------------------------------------------------------- */

static int allocate(int fd, uint64_t from, uint64_t bytes)
{
    static const char zeros[4096];

    if (fallocate(fd, 0, (off_t)from, (off_t)bytes) == 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != ENOSYS)
        return errno;
    for (uint64_t at = 0; at < bytes; at += sizeof(zeros))
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)(from + at)) != (ssize_t)sizeof(zeros))
            return errno != 0 ? errno : ENOSPC;
    return 0;
}

/* What has pages holds something, which a file system without fallocate would have overwritten. */
static int allocate_but(int fd, const struct range *r, const struct range *but)
{
    bool is_around = but->to != 0 && r->from <= but->from && but->to <= r->to;
    uint64_t end = is_around ? but->from : r->to;
    int rc = end != r->from ? allocate(fd, r->from, end - r->from) : 0;

    if (rc == 0 && is_around && but->to != r->to)
        rc = allocate(fd, but->to, r->to - but->to);
    return rc;
}

/* The range, and the file as long as what is in use of it. */
static int fill(int fd, const struct range *r)
{
    struct rlimit limit;

    /* Beyond it the kernel would send SIGXFSZ. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && own.bytes > limit.rlim_cur)
        return EFBIG;
    int rc = allocate_but(fd, r, &own.apart);
    if (rc == 0 && own.bytes > own.size && own.bytes != r->to &&
        ftruncate(fd, (off_t)own.bytes) != 0)
        rc = errno;
    if (rc == 0)
        own.size = own.bytes;
    return rc;
}

/* No descriptor is kept: programs close what they do not know, and use its number again. */
static int open_again(void)
{
    struct stat st;
    int fd = open(own.path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_dev != own.device || st.st_ino != own.inode)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool add_section(enum xs_record_section kind, uint64_t offset, uint64_t bytes)
{
    uint32_t n = atomic_load_explicit(&own.at->sections, memory_order_relaxed);

    if (n >= XS_RECORD_SECTIONS)
        return false;
    own.at->section[n] = (struct xs_record_entry){.kind = kind, .offset = offset, .bytes = bytes};
    /* Release: whoever sees the number sees the entry. */
    atomic_store_explicit(&own.at->sections, n + 1, memory_order_release);
    return true;
}

/* Then there is nothing to copy, and no page of the file need be touched before its time. */
static bool is_zero(const char *at, uint64_t bytes)
{
    const uint64_t *word = (const void *)at; /* whole pages */

    for (uint64_t i = 0; i < bytes / sizeof(*word); i += 4)
        if ((word[i] | word[i + 1] | word[i + 2] | word[i + 3]) != 0)
            return false;
    return true;
}

/* The same for the parent's pages, after a fork. */
static void clear(struct area *a)
{
    for (uint64_t i = 0; i < a->bytes; i += XS_RECORD_PAGE)
        if (!is_zero(a->at + i, XS_RECORD_PAGE))
            memset(a->at + i, 0, XS_RECORD_PAGE);
}

/* What the area holds goes to the file, and the file takes its place. */
static int map_over(struct area *a, int fd)
{
    const int prot = PROT_READ | PROT_WRITE;
    const off_t offset = (off_t)a->offset;

    if (!a->is_blank && !is_zero(a->at, a->bytes) &&
        pwrite(fd, a->at, a->bytes, offset) != (ssize_t)a->bytes)
        return errno != 0 ? errno : ENOSPC;
    if (mmap(a->at, a->bytes, prot, MAP_SHARED | MAP_FIXED, fd, offset) == MAP_FAILED)
        return errno;
    return 0;
}

static struct pool *pool_of(enum xs_record_section kind)
{
    return kind == XS_RECORD_HEAPS ? &own.heaps : kind == XS_RECORD_SLOTS ? &own.slots : NULL;
}

/* Of the snapshot little more than its head is written before there is something to tell; a
 * timeline grows. */
static uint64_t first_bytes(const struct area *a)
{
    bool grows = a->kind == XS_RECORD_TIMELINE || a->kind == XS_RECORD_TIMELINE_GPU ||
                 (a->kind == XS_RECORD_PROCESS && !a->is_blank);

    return grows && a->bytes > xs_mem_page() ? xs_mem_page() : a->bytes;
}

/* A section for the area, or a place in one; *need is what is to be allocated for it. */
static int place(struct area *a, struct range *need)
{
    struct pool *pool = pool_of(a->kind);
    uint64_t units = 1;

    *need = (struct range){0};
    if (pool != NULL && pool->units != 0)
        units = pool->units < POOL_UNITS ? pool->units : POOL_UNITS;
    if (pool == NULL || pool->next == pool->end) {
        if (!add_section(a->kind, own.bytes, units * a->bytes))
            return ENOSPC;
        a->offset = own.bytes;
        a->filled = first_bytes(a);
        *need = (struct range){own.bytes, own.bytes + (units - 1) * a->bytes + a->filled};
        own.bytes += units * a->bytes;
        if (pool != NULL) {
            pool->next = a->offset + a->bytes;
            pool->end = own.bytes;
            pool->units += units;
        }
    } else {
        a->offset = pool->next;
        a->filled = a->bytes;
        pool->next += a->bytes;
    }
    return 0;
}

static bool is_whole_pages(const struct area *a)
{
    return (((uintptr_t)a->at | a->bytes) & (xs_mem_page() - 1)) == 0;
}

static bool holds_counts(enum xs_record_section kind)
{
    return kind == XS_RECORD_HEAPS || kind == XS_RECORD_SLOTS || kind == XS_RECORD_SWITCH ||
           kind == XS_RECORD_SIZES;
}

static void leave_out(struct area *a)
{
    a->offset = 0;
    if (holds_counts(a->kind))
        own.at->left_out++;
}

static void share(struct area *a, int fd)
{
    struct pool *pool = pool_of(a->kind);
    struct pool pool_before = pool != NULL ? *pool : (struct pool){0};
    uint32_t sections = atomic_load_explicit(&own.at->sections, memory_order_relaxed);
    uint64_t bytes = own.bytes;
    struct range need;
    bool done = fd >= 0 && is_whole_pages(a) && place(a, &need) == 0;

    if (done && fill(fd, &need) != 0) {
        atomic_store_explicit(&own.at->sections, sections, memory_order_relaxed);
        own.bytes = bytes;
        if (pool != NULL)
            *pool = pool_before;
        done = false;
    }
    if (!done || map_over(a, fd) != 0)
        leave_out(a);
}

/* All that there are, with one call for what lies side by side. */
static int share_all(int fd)
{
    struct range all = {own.bytes, own.bytes};
    struct range need;
    int rc = 0;

    for (uint32_t i = 0; i < own.areas && rc == 0; i++) {
        struct area *a = area_at(i);
        if (!is_whole_pages(a) || place(a, &need) != 0) {
            leave_out(a);
        } else if (need.from != need.to) {
            if (need.from != all.to) {
                rc = fill(fd, &all);
                all.from = need.from;
            }
            all.to = need.to;
        }
    }
    if (rc == 0)
        rc = fill(fd, &all);
    for (uint32_t i = 0; i < own.areas && rc == 0; i++)
        if (area_at(i)->offset != 0 && map_over(area_at(i), fd) != 0)
            leave_out(area_at(i));
    return rc;
}

/* ---- areas -------------------------------------------------------------------------------- */

/* After a fork the mappings of the parent's record are there until the handler has run; what comes
 * of it then is the child's. */
static bool may_grow(void)
{
    return own.at != NULL && !own.is_frozen && !own.is_gone && own.pid == getpid();
}

static bool enter(enum xs_record_section kind, void *at, size_t bytes, bool is_blank)
{
    /* A signal handler that interrupted this very function. */
    if (xs_lock_is_mine(&own.lock))
        return false;
    xs_lock_take(&own.lock);
    bool done = false;
    if (has_room()) {
        struct area *a = area_at(own.areas);
        *a = (struct area){.at = at, .bytes = bytes, .kind = kind, .is_blank = is_blank};
        if (may_grow()) {
            int cancel;
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
            int fd = open_again();
            share(a, fd);
            if (fd >= 0)
                close(fd);
            pthread_setcancelstate(cancel, NULL);
        }
        a->is_blank = false;
        own.areas++;
        done = true;
    } else if (may_grow() && holds_counts(kind)) {
        own.at->left_out++;
    }
    xs_lock_give(&own.lock);
    return done;
}

bool xs_record_area(enum xs_record_section kind, void *at, size_t bytes)
{
    return enter(kind, at, bytes, false);
}

void *xs_record_section(enum xs_record_section kind, size_t bytes)
{
    bytes = xs_align_up(bytes, xs_mem_page());
    void *at = xs_mem_map(bytes, 1);

    if (at != NULL && !enter(kind, at, bytes, true)) {
        (void)xs_mem_unmap(at, bytes);
        at = NULL;
    }
    return at;
}

/* With the lock, a descriptor of the file; -1: it may not grow, or this is a signal handler that
 * interrupted who has the lock. */
static int begin_fill(int *cancel)
{
    if (xs_lock_is_mine(&own.lock))
        return -1;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, cancel);
    xs_lock_take(&own.lock);
    int fd = may_grow() ? open_again() : -1;
    if (fd < 0) {
        xs_lock_give(&own.lock);
        pthread_setcancelstate(*cancel, NULL);
    }
    return fd;
}

static void end_fill(int fd, int cancel)
{
    close(fd);
    xs_lock_give(&own.lock);
    pthread_setcancelstate(cancel, NULL);
}

/* `bytes` of the file from `from` on, *filled of which have pages. */
static bool fill_rest(uint64_t from, uint64_t *filled, uint64_t bytes)
{
    int cancel;
    int fd = *filled < bytes ? begin_fill(&cancel) : -1;

    if (fd >= 0) {
        if (*filled < bytes && fill(fd, &(struct range){from + *filled, from + bytes}) == 0)
            *filled = bytes;
        end_fill(fd, cancel);
    }
    return *filled >= bytes;
}

static struct area *area_of(const void *at)
{
    for (uint32_t i = 0; i < own.areas; i++)
        if (area_at(i)->at == at)
            return area_at(i);
    return NULL;
}

bool xs_record_fill(const void *at, size_t bytes)
{
    struct area *a = area_of(at);

    if (a == NULL || a->offset == 0 || bytes <= a->filled)
        return true;
    /* Twice as much each time, so that there are few system calls. */
    uint64_t more = bytes > 2 * a->filled ? xs_align_up(bytes, xs_mem_page()) : 2 * a->filled;
    return fill_rest(a->offset, &a->filled, more < a->bytes ? more : a->bytes);
}

bool xs_record_fill_part(const void *at, size_t from, size_t bytes)
{
    const struct area *a = area_of(at);
    uint64_t end = xs_align_up(from + bytes, xs_mem_page());
    int cancel;

    if (a == NULL || a->offset == 0 || end <= a->filled)
        return true;
    from = a->offset + from - from % xs_mem_page();
    end += a->offset;
    if (own.apart.from == from && own.apart.to >= end)
        return true;
    int fd = own.apart.to == 0 || own.apart.from == from ? begin_fill(&cancel) : -1;
    if (fd < 0)
        return false;
    struct range more = {own.apart.to != 0 ? own.apart.to : from, end};
    bool done = fill(fd, &more) == 0;
    if (done)
        own.apart = (struct range){from, end};
    end_fill(fd, cancel);
    return done;
}

bool xs_record_fill_text(void)
{
    return own.at != NULL && fill_rest(0, &own.head_filled, XS_RECORD_BYTES);
}

/* ---- life --------------------------------------------------------------------------------- */

static int map_new(int fd, const char *program)
{
    struct xs_buf name;
    struct stat st;

    own.size = 0;
    own.bytes = XS_RECORD_BYTES;
    own.head_filled = xs_align_up(sizeof(*own.at), xs_mem_page());
    int rc = fstat(fd, &st) == 0 ? fill(fd, &(struct range){0, own.head_filled}) : errno;
    if (rc != 0)
        return rc;
    /* The mask of the process may have taken away what we need. */
    if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) != 0)
        return errno;
    own.device = st.st_dev;
    own.inode = st.st_ino;
    void *at = mmap(NULL, XS_RECORD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return errno;
    own.at = at;
    own.heaps = own.slots = (struct pool){0};
    own.apart = (struct range){0};
    rc = share_all(fd);
    if (rc != 0)
        return rc;
    struct xs_record_head *h = &own.at->head;
    h->version = XS_RECORD_VERSION;
    h->bytes = XS_RECORD_BYTES;
    h->pid = (int32_t)own.pid;
    h->uid = (uint32_t)geteuid();
    h->made = xs_record_now();
    h->pid_space = xs_record_pid_space();
    xs_buf_init(&name, h->program, sizeof(h->program));
    xs_put_str(&name, program);
    /* Last: until it is there, nobody takes the file for one of ours. */
    __atomic_store_n(&h->magic, XS_RECORD_MAGIC, __ATOMIC_RELEASE);
    return 0;
}

/* What has our name already is what we left before an exec, or somebody dead did; unless it belongs
 * to a process of another container on the same directory, which may live: then the next name. */
static int open_new(void)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

    for (unsigned n = 1; n <= XS_RECORD_NAMES; n++) {
        if (!xs_record_path(own.path, sizeof(own.path), own.directory, own.pid, n)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(own.path, flags, 0600);
        if (fd >= 0 || errno != EEXIST)
            return fd;
        if (!xs_record_is_foreign(own.path))
            return unlink(own.path) == 0 ? open(own.path, flags, 0600) : -1;
    }
    errno = EEXIST;
    return -1;
}

int xs_record_create(const char *directory, const char *program)
{
    struct xs_buf b;

    if (own.at != NULL || own.is_frozen)
        return EALREADY;
    xs_buf_init(&b, own.directory, sizeof(own.directory));
    xs_io_put_here(&b, directory); /* the program may go elsewhere */
    xs_put_str(&b, directory);
    own.pid = getpid();
    if (b.truncated)
        return ENAMETOOLONG;
    int fd = open_new();
    if (fd < 0)
        return errno;
    xs_lock_take(&own.lock);
    int rc = map_new(fd, program);
    xs_lock_give(&own.lock);
    close(fd);
    if (rc != 0)
        (void)unlink(own.path);
    return rc;
}

struct xs_record *xs_record_mine(void)
{
    return own.at != NULL && own.pid == getpid() ? own.at : NULL;
}

void xs_record_freeze(void)
{
    own.is_frozen = true;
}

void xs_record_remove(void)
{
    if (!may_grow())
        return;
    own.is_gone = true;
    (void)unlink(own.path);
}

/* A name of a file that anything may have been put into. */
static void put_name(struct xs_buf *b, const char *text)
{
    for (; *text != '\0'; text++)
        xs_put_char(b, *text == '/' || (unsigned char)*text < ' ' ? '_' : *text);
}

int xs_record_keep(const char *host)
{
    XS_BUF(path, 400);

    if (!may_grow())
        return 0;
    own.is_gone = true;
    xs_fmt(&path, "%s/", own.directory);
    put_name(&path, own.at->head.program);
    xs_fmt(&path, ".%d.", (int)own.pid);
    put_name(&path, host);
    xs_put_str(&path, ".xsr");
    if (path.truncated)
        return ENAMETOOLONG;
    return rename(own.path, path.at) == 0 ? 0 : errno;
}

void xs_record_fork_child(void)
{
    const int prot = PROT_READ | PROT_WRITE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

    xs_lock_reset(&own.lock);
    for (uint32_t i = 0; i < own.areas; i++) {
        struct area *a = area_at(i);
        if (a->offset != 0)
            (void)mmap(a->at, a->bytes, prot, flags, -1, 0);
        else
            clear(a);
        XS_CHANGE_TO(a->offset, 0);
    }
    if (own.at != NULL)
        (void)munmap(own.at, XS_RECORD_BYTES);
    XS_CHANGE_TO(own.at, NULL);
    XS_CHANGE_TO(own.is_gone, false);
}
