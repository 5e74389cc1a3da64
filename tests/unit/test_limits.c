/* Limits read from a made-up /proc and /sys. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "sys/limits.h"
#include "sys/numa.h"
#include "tests/support/fake_root.h"

static void begin(void)
{
    fake_root_begin();
    put("/proc/meminfo",
        "MemTotal:       16000 kB\nMemFree:         1000 kB\nMemAvailable:    9000 kB\n");
    put("/proc/pressure/memory",
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00\n");
}

TestSuite(limits, .init = begin, .fini = fake_root_end);

static struct xs_limits l[XS_LIMITS_MOST];

/* As after a second, when the groups are looked for anew. */
static unsigned look_anew(void)
{
    xs_limits_fork_child();
    return xs_limits_look(l);
}

Test(limits, the_machine)
{
    put("/proc/self/cgroup", "0::/\n");
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_MACHINE && !xs_limits_is_confined());
    cr_assert_eq(l[0].limit_bytes, 16000u << 10);
    cr_assert_eq(l[0].used_bytes, 7000u << 10);
    cr_assert_eq(l[0].stalled, 150u);
}

/* The limits on the way up count, with what is used there. */
Test(limits, version_2)
{
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/b/memory.high", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "4096000\n");
    put("/sys/fs/cgroup/a/memory.current", "3000000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 1000000\nfile 7\n");
    put("/sys/fs/cgroup/a/memory.pressure", "some avg10=25.25 avg60=1.00\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert(l[0].of == XS_LIMITS_CGROUP && xs_limits_is_confined() &&
              l[1].of == XS_LIMITS_MACHINE);
    cr_assert_eq(l[0].limit_bytes, 4096000u);
    cr_assert_eq(l[0].used_bytes, 2000000u);
    cr_assert_eq(l[0].stalled, 2525u);
    cr_assert_eq(l[1].stalled, 0u, "the machine's may be this group's");
    put("/sys/fs/cgroup/a/memory.current", "4000000\n"); /* it changes, and so does the limit */
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    cr_assert_eq(xs_limits_look(l), 2u);
    cr_assert_eq(l[0].limit_bytes, 5000000u);
    cr_assert_eq(l[0].used_bytes, 3000000u);
}

/* A group whose limit is the smaller one may have more left than the one above it, which others
 * fill. */
Test(limits, groups_in_groups)
{
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/sys/fs/cgroup/a/b/c/memory.max", "5000000\n");
    put("/sys/fs/cgroup/a/b/c/memory.current", "1000000\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "8000000\n");
    put("/sys/fs/cgroup/a/memory.current", "7900000\n");
    cr_assert_eq(look_anew(), 3u);
    cr_assert_eq(l[0].limit_bytes, 5000000u);
    cr_assert_eq(l[0].used_bytes, 1000000u);
    cr_assert_eq(l[1].limit_bytes, 8000000u);
    cr_assert_eq(l[1].used_bytes, 7900000u);
}

/* Where processes are made to wait is a limit. */
Test(limits, high)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    put("/sys/fs/cgroup/a/memory.high", "3000000\n");
    put("/sys/fs/cgroup/a/memory.current", "1000000\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert_eq(l[0].limit_bytes, 3000000u);
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert_eq(l[0].limit_bytes, 3000000u);
}

/* Files that were read twice are dropped before anybody is killed, and so are the kernel's caches;
 * what is mapped of files is wanted. */
Test(limits, what_the_kernel_would_drop)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    put("/sys/fs/cgroup/a/memory.current", "4800000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 100000\nfile 4500000\nfile_mapped 300000\n"
                                        "inactive_file 1000000\nactive_file 3500000\n"
                                        "slab_reclaimable 150000\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert_eq(l[0].used_bytes, 4800000u - 1000000u - 3200000u - 150000u);
    put("/proc/self/cgroup", "4:memory:/job\n");
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000000\n");
    put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4800000\n");
    put("/sys/fs/cgroup/memory/job/memory.stat",
        "inactive_file 1\nactive_file 1\nmapped_file 1\ntotal_mapped_file 300000\n"
        "total_inactive_file 1000000\ntotal_active_file 3500000\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert_eq(l[0].used_bytes, 4800000u - 1000000u - 3200000u);
}

/* The process is moved, and its group gets a limit, while it runs. */
Test(limits, moves)
{
    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.current", "1\n");
    cr_assert_eq(look_anew(), 1u);
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    put("/sys/fs/cgroup/b/memory.max", "6000000\n");
    put("/sys/fs/cgroup/b/memory.current", "2\n");
    usleep(1000100);
    cr_assert_eq(xs_limits_look(l), 2u);
    cr_assert_eq(l[0].limit_bytes, 5000000u);
    put("/proc/self/cgroup", "0::/b\n");
    usleep(1000100);
    cr_assert_eq(xs_limits_look(l), 2u);
    cr_assert_eq(l[0].limit_bytes, 6000000u);
}

Test(limits, version_1)
{
    put("/proc/self/cgroup", "5:cpu:/x\n4:memory:/job/1\n0::/\n");
    put("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "2097152\n");
    put("/sys/fs/cgroup/memory/job/1/memory.usage_in_bytes", "2000000\n");
    put("/sys/fs/cgroup/memory/job/1/memory.stat", "inactive_file 9\ntotal_inactive_file 500000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert(l[0].of == XS_LIMITS_CGROUP);
    cr_assert_eq(l[0].limit_bytes, 2097152u);
    cr_assert_eq(l[0].used_bytes, 1500000u);
    cr_assert_eq(l[0].stalled, 0u, "version 1 tells none");
    cr_assert_eq(l[1].stalled, 0u, "the machine's may be another group's");
}

/* What is asked at start is forgotten: the process may be in another group later. */
Test(limits, at_start)
{
    struct xs_limits l[XS_LIMITS_MOST];

    put("/proc/self/cgroup", "0::/\n");
    cr_assert_eq(xs_limits_cgroup(), UINT64_MAX);
    put("/proc/self/cgroup", "4:memory:/job/1\n0::/\n");
    put("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert_eq(xs_limits_cgroup(), UINT64_MAX);
    put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "2097152\n");
    cr_assert_eq(xs_limits_cgroup(), 2097152u);
    put("/proc/self/cgroup", "4:memory:/other\n");
    put("/sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1048576\n");
    put("/sys/fs/cgroup/memory/other/memory.usage_in_bytes", "1000000\n");
    cr_assert(xs_limits_look(l) != 0);
    cr_assert_eq(l[0].limit_bytes, 1048576u);
}

/* A container sees the path of the host, and its own group at the mount. */
Test(limits, container)
{
    put("/proc/self/cgroup", "0::/../../docker/abc\n");
    put("/sys/fs/cgroup/memory.max", "1048576\n");
    put("/sys/fs/cgroup/memory.current", "1000000\n");
    cr_assert_eq(look_anew(), 2u);
    cr_assert(l[0].of == XS_LIMITS_CGROUP);
    cr_assert_eq(l[0].limit_bytes, 1048576u);
}

/* More groups with a limit than there is room for, and a path that is too long. */
Test(limits, too_many)
{
    char path[2048] = "/sys/fs/cgroup";
    char line[3000];

    for (unsigned i = 0; i < 12; i++) {
        char file[2100];
        strcat(path, "/d");
        snprintf(file, sizeof(file), "%s/memory.max", path);
        put(file, "6000000\n");
        snprintf(file, sizeof(file), "%s/memory.current", path);
        put(file, "1000000\n");
    }
    snprintf(line, sizeof(line), "0::%s\n", path + strlen("/sys/fs/cgroup"));
    put("/proc/self/cgroup", line);
    cr_assert_eq(look_anew(), (unsigned)XS_LIMITS_MOST);
    cr_assert(l[XS_LIMITS_MOST - 2].of == XS_LIMITS_CGROUP &&
              l[XS_LIMITS_MOST - 1].of == XS_LIMITS_MACHINE);

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    path[sizeof(path) - 1] = '\0';
    snprintf(line, sizeof(line), "0::%s\n", path);
    put("/proc/self/cgroup", line);
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_MACHINE);
}

static uint64_t policy_mask;
static int policy_mode;

static long fake_policy(int *mode, unsigned long *mask, unsigned long bits, void *at, int flags)
{
    (void)bits;
    (void)at;
    (void)flags;
    *mode = policy_mode;
    *mask = policy_mask;
    return 0;
}

static void put_node(unsigned n, unsigned long total, unsigned long free, unsigned long file)
{
    char path[128];
    char text[512];

    snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", n);
    snprintf(text, sizeof(text),
             "Node %u MemTotal:       %lu kB\nNode %u MemFree:        %lu kB\n"
             "Node %u Active:          77 kB\nNode %u Active(file):    %lu kB\n"
             "Node %u Inactive(file):    %lu kB\nNode %u SReclaimable:    %lu kB\n",
             n, total, n, free, n, n, file, n, file, n, file);
    put(path, text);
}

/* Four nodes, of which the kernel keeps 800 KiB for itself in all. */
static void put_nodes(const char *allowed)
{
    char status[64];

    snprintf(status, sizeof(status), "Name:\tx\nMems_allowed_list:\t%s\n", allowed);
    put("/proc/self/cgroup", "0::/\n");
    put("/proc/self/status", status);
    put("/proc/meminfo", "MemTotal: 16000 kB\nMemFree: 9200 kB\nMemAvailable: 9000 kB\n"
                         "Active(file): 200 kB\nInactive(file): 200 kB\nSReclaimable: 200 kB\n");
    put("/sys/devices/system/node/has_memory", "0-3\n");
    for (unsigned n = 0; n < 4; n++)
        put_node(n, 4000, 500 + n, 30);
    policy_mode = 0;
    xs_numa_calls.get_mempolicy = fake_policy;
}

/* Of a machine with 7000 of 16000 KiB used, the nodes that a cpuset or a policy leaves. */
Test(limits, nodes)
{
    put_nodes("0-3");
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_MACHINE && l[0].used_bytes == 7000u << 10);
    put_nodes("1");
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_NODES);
    cr_assert_eq(l[0].limit_bytes, 4000u << 10);
    cr_assert_eq(l[0].used_bytes, (4000u - 501 - 90 + 200) << 10);
    cr_assert_eq(l[0].stalled, 150u);
    put_nodes("1,3");
    cr_assert_eq(look_anew(), 1u);
    cr_assert_eq(l[0].limit_bytes, 8000u << 10);
    cr_assert_eq(l[0].used_bytes, (8000u - 501 - 503 - 180 + 400) << 10);
    /* By who started the process: to be bound, also with flags; what is preferred may run over. */
    put_nodes("0-1,3");
    policy_mode = 2;
    policy_mask = 4 + 8;
    cr_assert_eq(look_anew(), 1u);
    cr_assert_eq(l[0].used_bytes, (4000u - 503 - 90 + 200) << 10);
    policy_mode = 2 | 1 << 13 | 1 << 15;
    cr_assert_eq(look_anew(), 1u);
    cr_assert_eq(l[0].limit_bytes, 4000u << 10);
    policy_mode = 1;
    cr_assert_eq(look_anew(), 1u);
    cr_assert_eq(l[0].limit_bytes, 12000u << 10);
}

Test(limits, nodes_that_do_not_tell)
{
    put_nodes("1");
    put("/sys/devices/system/node/node1/meminfo", "\n");
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_MACHINE && l[0].used_bytes == 7000u << 10);
    put_nodes("0"); /* the only one that has memory */
    put("/sys/devices/system/node/has_memory", "0\n");
    cr_assert_eq(look_anew(), 1u);
    cr_assert(l[0].of == XS_LIMITS_MACHINE);
    put_nodes("1"); /* less than the kernel keeps */
    put_node(1, 4000, 20, 30);
    cr_assert_eq(look_anew(), 1u);
    cr_assert_eq(l[0].used_bytes, 4000u << 10);
}

Test(limits, nothing_is_known)
{
    xs_limits_root = "/nowhere";
    cr_assert_eq(look_anew(), 0u);
    xs_limits_root = fake_root;
}
