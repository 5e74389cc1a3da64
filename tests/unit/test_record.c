/* The record: who may have it, what is refused, whose files go; how memory becomes part of it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/record.h"
#include "sys/record_read.h"

static char dir[64];

static void setup(void)
{
    strcpy(dir, "/tmp/xs-record-XXXXXX");
    cr_assert(mkdtemp(dir) != NULL);
}

static void teardown(void)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

static const char *path_of(pid_t pid)
{
    static char path[160];

    snprintf(path, sizeof(path), "%s/xsigma-%u-%d", dir, (unsigned)geteuid(), (int)pid);
    return path;
}

static bool there(pid_t pid)
{
    return access(path_of(pid), F_OK) == 0;
}

TestSuite(record, .init = setup, .fini = teardown);

Test(record, made_private_and_whole_and_removed)
{
    struct stat st;

    umask(0);
    cr_assert_eq(xs_record_create(dir, "pricer"), 0);
    cr_assert_eq(stat(path_of(getpid()), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600u);
    cr_assert_eq(st.st_size, (off_t)XS_RECORD_BYTES);
    cr_assert_lt(st.st_blocks * 512, (off_t)XS_RECORD_BYTES, "pages that may never be needed");
    struct xs_record *r = xs_record_mine();
    cr_assert_str_eq(r->head.program, "pricer");
    cr_assert_eq(r->head.pid, getpid());
    cr_assert_neq(r->head.made, 0u);
    cr_assert(xs_record_fill_text());
    cr_assert_eq(stat(path_of(getpid()), &st), 0);
    cr_assert_geq(st.st_blocks * 512, (off_t)XS_RECORD_BYTES, "pages that may be missing later");
    r->text[XS_RECORD_TEXT - 1] = 'x'; /* the last byte is mapped */
    xs_record_remove();
    cr_assert(!there(getpid()));
    r->text[0] = 'x'; /* others may still be looking */
}

Test(record, the_command_sees_what_the_process_writes_and_back)
{
    struct xs_record_file command;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    cr_assert_eq(xs_record_open(&command, dir, getpid()), 0);
    struct xs_record *mine = xs_record_mine();
    cr_assert_neq(mine, command.at);
    atomic_store(&command.at->turn, 4 | XS_RECORD_ASKED);
    cr_assert_eq(XS_RECORD_STATE(atomic_load(&mine->turn)), XS_RECORD_ASKED);
    strcpy(mine->text, "done");
    cr_assert_str_eq(command.at->text, "done");
}

Test(record, one_command_at_a_time)
{
    struct xs_record_file one;
    struct xs_record_file two;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    cr_assert_eq(xs_record_open(&one, dir, getpid()), 0);
    cr_assert_eq(xs_record_open(&two, dir, getpid()), EBUSY);
    xs_record_close(&one);
    cr_assert_eq(xs_record_open(&two, dir, getpid()), 0);
}

/* A record of this process's number, as an exec leaves it, or another container's process. */
static void left_by_another(void)
{
    pid_t self = getpid();
    char path[160];

    strcpy(path, path_of(self));
    cr_assert_eq(xs_record_create(dir, "before"), 0);
    char kept[170];
    snprintf(kept, sizeof(kept), "%s.kept", path);
    cr_assert_eq(rename(path, kept), 0);
    xs_record_fork_child(); /* the process knows of no record any more */
    cr_assert_eq(rename(kept, path), 0);
}

Test(record, what_exec_left_is_replaced)
{
    left_by_another();
    cr_assert_eq(xs_record_mine(), NULL);
    cr_assert_eq(xs_record_create(dir, "after"), 0);
    cr_assert_str_eq(xs_record_mine()->head.program, "after");
    cr_assert_eq(xs_record_create(dir, "twice"), EALREADY);
}

static void see_any(const struct xs_record_head *head, bool is_alive, void *arg)
{
    (void)head;
    (void)is_alive;
    (void)arg;
}

Test(record, as_many_containers_as_there_are_names)
{
    struct xs_record_head head;
    char name[180];

    left_by_another();
    int fd = open(path_of(getpid()), O_RDONLY);
    cr_assert_eq(pread(fd, &head, sizeof(head), 0), (ssize_t)sizeof(head));
    head.pid_space++;
    for (unsigned n = 1; n <= XS_RECORD_NAMES; n++) {
        cr_assert(xs_record_path(name, sizeof(name), dir, getpid(), n));
        int other = open(name, O_WRONLY | O_CREAT, 0600);
        cr_assert_eq(pwrite(other, &head, sizeof(head), 0), (ssize_t)sizeof(head));
        cr_assert_eq(ftruncate(other, XS_RECORD_BYTES), 0);
        close(other);
    }
    cr_assert_eq(xs_record_create(dir, "ours"), EEXIST);
    cr_assert_eq(xs_record_mine(), NULL);
}

Test(record, another_containers_file_is_left)
{
    struct xs_record_file c;
    struct xs_record_head head;

    left_by_another();
    int fd = open(path_of(getpid()), O_RDWR);
    cr_assert_eq(pread(fd, &head, sizeof(head), 0), (ssize_t)sizeof(head));
    head.pid_space++;
    cr_assert_eq(pwrite(fd, &head, sizeof(head), 0), (ssize_t)sizeof(head));
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    cr_assert_eq(xs_record_create(dir, "ours"), 0);
    cr_assert_neq(xs_record_mine(), NULL);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), 0, "under its second name");
    cr_assert_str_eq(c.at->head.program, "ours");
    xs_record_close(&c);
    cr_assert_eq(xs_record_each(dir, see_any, NULL), 2u);
    xs_record_remove();
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    cr_assert(there(getpid()));
    head.made = 0; /* looks dead, but who knows */
    head.reported = 1;
    cr_assert_eq(pwrite(fd, &head, sizeof(head), 0), (ssize_t)sizeof(head));
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    cr_assert_eq(futimens(fd, old), 0);
    xs_record_reap(dir, 10);
    cr_assert(there(getpid()));
}

Test(record, a_link_in_the_way_is_not_followed)
{
    struct xs_record_file f;
    char target[160];
    struct stat st;

    snprintf(target, sizeof(target), "%s/precious", dir);
    int fd = open(target, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, "keep", 4), 4);
    close(fd);
    cr_assert_eq(symlink(target, path_of(getpid())), 0);
    cr_assert_eq(xs_record_open(&f, dir, getpid()), EPERM);
    cr_assert_eq(xs_record_create(dir, "p"), 0); /* takes the link away */
    cr_assert_eq(stat(target, &st), 0);
    cr_assert_eq(st.st_size, 4);
    cr_assert_eq(lstat(path_of(getpid()), &st), 0);
    cr_assert(S_ISREG(st.st_mode));
}

Test(record, what_is_refused)
{
    struct xs_record_file c;
    const char *path;

    cr_assert_eq(xs_record_open(&c, dir, 1), ENOENT);
    cr_assert_eq(xs_record_open(&c, "/nonexistent", getpid()), ENOENT);
    cr_assert_eq(xs_record_create("/nonexistent", "p"), ENOENT);
    cr_assert_eq(xs_record_create(dir, "p"), 0);
    struct xs_record *r = xs_record_mine();
    path = path_of(getpid());
    cr_assert_eq(chmod(path, 0620), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EPERM, "a group may write");
    cr_assert_eq(chmod(path, 0600), 0);
    r->head.version++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), ENOTSUP);
    r->head.version--;
    r->head.magic++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    r->head.magic--;
    r->head.pid++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    r->head.pid--;
    memset(r->head.program, 'x', sizeof(r->head.program));
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG, "a name without end");
    r->head.program[1] = '\0';
    uint64_t made = r->head.made;
    r->head.made = 1;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), ESRCH, "an earlier process of this number");
    r->head.made = made;
    char other[170];
    snprintf(other, sizeof(other), "%s.2", path);
    cr_assert_eq(link(path, other), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EPERM, "a second name");
    unlink(other);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), 0);
}

Test(record, a_short_file_is_never_mapped)
{
    struct xs_record_file c;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    cr_assert_eq(truncate(path_of(getpid()), 4096), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    cr_assert_eq(truncate(path_of(getpid()), 10), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
}

Test(record, no_room_for_the_file)
{
    const struct rlimit limit = {4096, 4096};

    /* SIGXFSZ would end the test. */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(xs_record_create(dir, "p"), EFBIG);
    cr_assert_eq(xs_record_mine(), NULL);
    cr_assert(!there(getpid()), "half a file was left");
}

static pid_t dead_with_a_file(bool reported, time_t age_s)
{
    pid_t child = fork();

    if (child == 0) {
        int rc = xs_record_create(dir, "gone");
        if (rc == 0)
            xs_record_mine()->head.reported = reported;
        _exit(rc);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    const struct timespec then[2] = {{.tv_sec = time(NULL) - age_s},
                                     {.tv_sec = time(NULL) - age_s}};
    cr_assert_eq(utimensat(AT_FDCWD, path_of(child), then, 0), 0);
    return child;
}

static unsigned seen;
static unsigned seen_alive;

static void see(const struct xs_record_head *head, bool is_alive, void *arg)
{
    (void)arg;
    cr_assert_eq(is_alive, head->pid == getpid());
    seen++;
    seen_alive += is_alive;
}

Test(record, the_dead_are_cleared_away_when_they_were_reported_or_are_old)
{
    struct xs_record_file c;
    char stranger[160];
    pid_t fresh = dead_with_a_file(false, 7200);
    pid_t just_shown = dead_with_a_file(true, 60);
    pid_t shown = dead_with_a_file(true, 3600);
    pid_t old = dead_with_a_file(false, 8 * 24 * 3600);

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    snprintf(stranger, sizeof(stranger), "%s/xsigma-%u-12x", dir, (unsigned)geteuid());
    close(open(stranger, O_WRONLY | O_CREAT, 0600));
    cr_assert_eq(xs_record_open(&c, dir, fresh), ESRCH);
    cr_assert_eq(xs_record_each(dir, see, NULL), 1u);
    cr_assert_eq(seen, 5u);
    cr_assert_eq(seen_alive, 1u);
    cr_assert(there(shown) && there(old), "listing takes nothing away");
    xs_record_reap(dir, 100);
    cr_assert(there(fresh) && there(just_shown) && there(getpid()));
    cr_assert(!there(shown) && !there(old));
    cr_assert_eq(access(stranger, F_OK), 0, "not a record's name");
    cr_assert_eq(xs_record_each("/nonexistent", see, NULL), 0u);
}

Test(record, a_child_leaves_its_parents_file)
{
    int status;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    pid_t child = fork();
    if (child == 0) {
        xs_record_remove(); /* as _exit of a vfork child would */
        bool is_mine = xs_record_mine() != NULL;
        xs_record_fork_child();
        _exit(is_mine || xs_record_mine() != NULL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert(there(getpid()));
}

/* ---- memory that becomes part of it ------------------------------------------------------ */

/* What the file has in the first section of this kind. */
static uint64_t *in_file(enum xs_record_section kind)
{
    static _Alignas(XS_RECORD_PAGE) unsigned char bytes[1 << 20];
    struct xs_record_head head;
    size_t count;

    int fd = open(path_of(getpid()), O_RDONLY);
    ssize_t n = read(fd, bytes, sizeof(bytes));
    close(fd);
    struct xs_record_bytes r = {bytes, n > 0 ? (size_t)n : 0};
    cr_assert_eq(xs_record_check(&r, &head), 0);
    return (uint64_t *)xs_record_find(&r, kind, 0, XS_RECORD_PAGE, &count);
}

Test(record, an_area_keeps_its_place_and_what_is_in_it)
{
    static _Alignas(XS_RECORD_PAGE) uint64_t before[512];
    uint64_t *later;

    before[7] = 77;
    cr_assert(xs_record_area(XS_RECORD_HEAPS, before, sizeof(before)));
    cr_assert_eq(xs_record_create(dir, "p"), 0);
    cr_assert_eq(before[7], 77u);
    cr_assert_eq(in_file(XS_RECORD_HEAPS)[7], 77u);
    before[7]++;
    cr_assert_eq(in_file(XS_RECORD_HEAPS)[7], 78u, "counted without any call");

    later = xs_record_section(XS_RECORD_SITES, 100000);
    cr_assert_neq(later, NULL);
    cr_assert_eq(later[100], 0u);
    later[100] = 5;
    cr_assert_eq(in_file(XS_RECORD_SITES)[100], 5u);
    cr_assert_eq(xs_record_mine()->left_out, 0u);
}

Test(record, areas_without_a_record_are_just_memory)
{
    uint64_t *at = xs_record_section(XS_RECORD_SITES, 5000);

    cr_assert_neq(at, NULL);
    at[1000] = 1;
    cr_assert_eq(xs_record_create("/nonexistent", "p"), ENOENT);
    cr_assert_eq(at[1000], 1u);
}

Test(record, a_child_starts_from_zero_and_touches_nothing)
{
    uint64_t *at;
    int status;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    at = xs_record_section(XS_RECORD_SITES, 4096);
    at[3] = 33;
    pid_t child = fork();
    if (child == 0) {
        xs_record_fork_child();
        bool was_zero = at[3] == 0;
        at[3] = 1000;
        /* One that is recorded has a file of its own. */
        bool made = xs_record_create(dir, "child") == 0 && in_file(XS_RECORD_SITES)[3] == 1000;
        xs_record_remove();
        _exit(was_zero && made ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(at[3], 33u);
    cr_assert_eq(in_file(XS_RECORD_SITES)[3], 33u);
}

Test(record, more_areas_than_sections)
{
    enum { AREAS = 1000 };
    size_t total = 0;
    uint64_t *area[AREAS];
    struct xs_record_head head;

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    for (int i = 0; i < AREAS; i++) {
        area[i] = xs_record_section(XS_RECORD_HEAPS, XS_RECORD_PAGE);
        cr_assert_neq(area[i], NULL);
        area[i][0] = 1;
    }
    static _Alignas(XS_RECORD_PAGE) unsigned char bytes[8 << 20];
    int fd = open(path_of(getpid()), O_RDONLY);
    struct xs_record_bytes r = {bytes, (size_t)read(fd, bytes, sizeof(bytes))};
    close(fd);
    cr_assert_eq(xs_record_check(&r, &head), 0);
    for (unsigned i = 0;; i++) {
        size_t n;
        const uint64_t *at = xs_record_find(&r, XS_RECORD_HEAPS, i, XS_RECORD_PAGE, &n);
        if (at == NULL)
            break;
        for (size_t k = 0; k < n; k++)
            total += at[k * (XS_RECORD_PAGE / sizeof(*at))];
    }
    cr_assert_eq(total, (size_t)AREAS);
    cr_assert_eq(xs_record_mine()->left_out, 0u);
}

Test(record, a_file_that_may_not_grow_leaves_areas_private)
{
    const struct rlimit limit = {XS_RECORD_BYTES + 4096, XS_RECORD_BYTES + 4096};

    cr_assert_eq(xs_record_create(dir, "p"), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    uint64_t *at = xs_record_section(XS_RECORD_SITES, 40000);
    cr_assert_neq(at, NULL);
    at[4999] = 1;
    cr_assert_eq(xs_record_mine()->left_out, 0u, "no counts");
    cr_assert_neq(xs_record_section(XS_RECORD_HEAPS, 8192), NULL);
    cr_assert_eq(xs_record_mine()->left_out, 1u);
    cr_assert_eq(in_file(XS_RECORD_SITES), NULL);
}

Test(record, kept_under_a_name_that_tells_whose_it_is)
{
    char path[200];

    cr_assert_eq(xs_record_create(dir, "a/b"), 0);
    cr_assert_eq(xs_record_keep("node7"), 0);
    cr_assert(!there(getpid()));
    snprintf(path, sizeof(path), "%s/a_b.%d.node7.xsr", dir, (int)getpid());
    cr_assert_eq(access(path, F_OK), 0);
}

Test(record, frozen_it_makes_no_more_calls)
{
    cr_assert_eq(xs_record_create(dir, "p"), 0);
    xs_record_freeze();
    cr_assert_neq(xs_record_section(XS_RECORD_SITES, 4096), NULL);
    cr_assert_eq(in_file(XS_RECORD_SITES), NULL);
    xs_record_remove();
    cr_assert(there(getpid()));
}
