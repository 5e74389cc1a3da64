/* The control file: who may have it, what is refused, whose files go. */
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
#include <unistd.h>

#include "sys/record.h"

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
    struct xs_record_file f;
    struct stat st;

    umask(0);
    cr_assert_eq(xs_record_create(&f, dir, "pricer"), 0);
    cr_assert_eq(stat(path_of(getpid()), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600u);
    cr_assert_eq(st.st_size, (off_t)XS_RECORD_BYTES);
    cr_assert_geq(st.st_blocks * 512, (off_t)XS_RECORD_BYTES, "pages that may be missing later");
    cr_assert_str_eq(f.at->head.program, "pricer");
    cr_assert_eq(f.at->head.pid, getpid());
    cr_assert_neq(f.at->head.started, 0u);
    f.at->text[XS_RECORD_TEXT - 1] = 'x'; /* the last byte is mapped */
    xs_record_remove(&f);
    cr_assert(!there(getpid()));
    f.at->text[0] = 'x'; /* others may still be looking */
}

Test(record, the_command_sees_what_the_process_writes_and_back)
{
    struct xs_record_file process;
    struct xs_record_file command;

    cr_assert_eq(xs_record_create(&process, dir, "p"), 0);
    cr_assert_eq(xs_record_open(&command, dir, getpid()), 0);
    cr_assert_neq(process.at, command.at);
    atomic_store(&command.at->turn, 4 | XS_RECORD_ASKED);
    cr_assert_eq(XS_RECORD_STATE(atomic_load(&process.at->turn)), XS_RECORD_ASKED);
    strcpy(process.at->text, "done");
    cr_assert_str_eq(command.at->text, "done");
}

Test(record, one_command_at_a_time)
{
    struct xs_record_file process;
    struct xs_record_file one;
    struct xs_record_file two;

    cr_assert_eq(xs_record_create(&process, dir, "p"), 0);
    cr_assert_eq(xs_record_open(&one, dir, getpid()), 0);
    cr_assert_eq(xs_record_open(&two, dir, getpid()), EBUSY);
}

Test(record, what_exec_left_is_replaced)
{
    struct xs_record_file f;
    struct xs_record_file again;

    cr_assert_eq(xs_record_create(&f, dir, "before"), 0);
    cr_assert_eq(xs_record_create(&again, dir, "after"), 0);
    cr_assert_str_eq(f.at->head.program, "before");
    cr_assert_str_eq(again.at->head.program, "after");
}

Test(record, another_containers_file_is_left)
{
    struct xs_record_file f;
    struct xs_record_file again;

    cr_assert_eq(xs_record_create(&f, dir, "theirs"), 0);
    f.at->head.pid_space++;
    cr_assert_eq(xs_record_create(&again, dir, "ours"), EEXIST);
    cr_assert_eq(again.at, NULL);
    cr_assert_eq(xs_record_open(&again, dir, getpid()), EBADMSG);
    f.at->head.started++; /* looks dead, but who knows */
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
    cr_assert_eq(xs_record_create(&f, dir, "p"), 0); /* takes the link away */
    cr_assert_eq(stat(target, &st), 0);
    cr_assert_eq(st.st_size, 4);
    cr_assert_eq(lstat(path_of(getpid()), &st), 0);
    cr_assert(S_ISREG(st.st_mode));
}

Test(record, what_is_refused)
{
    struct xs_record_file f;
    struct xs_record_file c;
    const char *path;

    cr_assert_eq(xs_record_open(&c, dir, 1), ENOENT);
    cr_assert_eq(xs_record_open(&c, "/nonexistent", getpid()), ENOENT);
    cr_assert_eq(xs_record_create(&f, "/nonexistent", "p"), ENOENT);
    cr_assert_eq(xs_record_create(&f, dir, "p"), 0);
    path = path_of(getpid());
    cr_assert_eq(chmod(path, 0620), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EPERM, "a group may write");
    cr_assert_eq(chmod(path, 0600), 0);
    f.at->head.version++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), ENOTSUP);
    f.at->head.version--;
    f.at->head.magic++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    f.at->head.magic--;
    f.at->head.pid++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    f.at->head.pid--;
    memset(f.at->head.program, 'x', sizeof(f.at->head.program));
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG, "a name without end");
    f.at->head.program[1] = '\0';
    f.at->head.started++;
    cr_assert_eq(xs_record_open(&c, dir, getpid()), ESRCH, "an earlier process of this number");
    f.at->head.started--;
    char other[170];
    snprintf(other, sizeof(other), "%s.2", path);
    cr_assert_eq(link(path, other), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EPERM, "a second name");
    unlink(other);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), 0);
}

Test(record, a_short_file_is_never_mapped)
{
    struct xs_record_file f;
    struct xs_record_file c;

    cr_assert_eq(xs_record_create(&f, dir, "p"), 0);
    cr_assert_eq(truncate(path_of(getpid()), 4096), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
    cr_assert_eq(truncate(path_of(getpid()), 10), 0);
    cr_assert_eq(xs_record_open(&c, dir, getpid()), EBADMSG);
}

Test(record, no_room_for_the_file)
{
    struct xs_record_file f;
    const struct rlimit limit = {4096, 4096};

    /* Stands in for a full tmpfs, which no test can make. */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(xs_record_create(&f, dir, "p"), EFBIG);
    cr_assert_eq(f.at, NULL);
    cr_assert(!there(getpid()), "half a file was left");
}

static pid_t dead_with_a_file(void)
{
    pid_t child = fork();

    if (child == 0) {
        struct xs_record_file f;
        _exit(xs_record_create(&f, dir, "gone"));
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    return child;
}

static unsigned seen;

static void see(const struct xs_record_head *head, void *arg)
{
    (void)arg;
    cr_assert_eq(head->pid, getpid());
    seen++;
}

Test(record, the_dead_are_cleared_away_and_the_living_listed)
{
    struct xs_record_file f;
    struct xs_record_file c;
    char stranger[160];
    pid_t a = dead_with_a_file();
    pid_t b = dead_with_a_file();

    cr_assert_eq(xs_record_create(&f, dir, "p"), 0);
    snprintf(stranger, sizeof(stranger), "%s/xsigma-%u-12x", dir, (unsigned)geteuid());
    close(open(stranger, O_WRONLY | O_CREAT, 0600));
    cr_assert_eq(xs_record_open(&c, dir, a), ESRCH);
    xs_record_reap(dir, 1);
    cr_assert(there(a) != there(b), "one was to go");
    cr_assert_eq(xs_record_each(dir, see, NULL), 1u);
    cr_assert_eq(seen, 1u);
    cr_assert(!there(a) && !there(b));
    cr_assert(there(getpid()));
    cr_assert_eq(access(stranger, F_OK), 0, "not a record's name");
    cr_assert_eq(xs_record_each("/nonexistent", see, NULL), 0u);
}

Test(record, a_child_leaves_its_parents_file)
{
    struct xs_record_file f;
    int status;

    cr_assert_eq(xs_record_create(&f, dir, "p"), 0);
    pid_t child = fork();
    if (child == 0) {
        xs_record_remove(&f); /* as _exit of a vfork child would */
        xs_record_forget(&f);
        _exit(f.at != NULL);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert(there(getpid()));
}
