/* Limits read from a made-up /proc and /sys. */
#include <criterion/criterion.h>

#include "sys/limits.h"
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

Test(limits, the_machine)
{
    struct xs_limits l;

    put("/proc/self/cgroup", "0::/\n");
    cr_assert(xs_limits_look(&l));
    cr_assert(!l.is_cgroup && !xs_limits_has_cgroup());
    cr_assert_eq(l.limit_bytes, 16000u << 10);
    cr_assert_eq(l.used_bytes, 7000u << 10);
    cr_assert_eq(l.stalled, 150u);
}

/* The tightest limit on the way up counts, with what is used there. */
Test(limits, version_2)
{
    struct xs_limits l;

    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    put("/sys/fs/cgroup/a/memory.max", "4096000\n");
    put("/sys/fs/cgroup/a/memory.current", "3000000\n");
    put("/sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 1000000\nfile 7\n");
    put("/sys/fs/cgroup/a/memory.pressure", "some avg10=25.25 avg60=1.00\n");
    cr_assert(xs_limits_look(&l));
    cr_assert(l.is_cgroup && xs_limits_has_cgroup());
    cr_assert_eq(l.limit_bytes, 4096000u);
    cr_assert_eq(l.used_bytes, 2000000u);
    cr_assert_eq(l.stalled, 2525u);
    put("/sys/fs/cgroup/a/memory.current", "4000000\n"); /* it changes, and so does the limit */
    put("/sys/fs/cgroup/a/memory.max", "5000000\n");
    cr_assert(xs_limits_look(&l));
    cr_assert_eq(l.limit_bytes, 5000000u);
    cr_assert_eq(l.used_bytes, 3000000u);
}

Test(limits, version_1)
{
    struct xs_limits l;

    put("/proc/self/cgroup", "5:cpu:/x\n4:memory:/job/1\n0::/\n");
    put("/sys/fs/cgroup/memory/job/1/memory.limit_in_bytes", "2097152\n");
    put("/sys/fs/cgroup/memory/job/1/memory.usage_in_bytes", "2000000\n");
    put("/sys/fs/cgroup/memory/job/1/memory.stat", "inactive_file 9\ntotal_inactive_file 500000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    cr_assert(xs_limits_look(&l));
    cr_assert(l.is_cgroup);
    cr_assert_eq(l.limit_bytes, 2097152u);
    cr_assert_eq(l.used_bytes, 1500000u);
    cr_assert_eq(l.stalled, 0u,
                 "version 1 tells none of its own, and the machine's may be another group's");
}

/* A container sees the path of the host, and its own group at the mount. */
Test(limits, container)
{
    struct xs_limits l;

    put("/proc/self/cgroup", "0::/../../docker/abc\n");
    put("/sys/fs/cgroup/memory.max", "1048576\n");
    put("/sys/fs/cgroup/memory.current", "1000000\n");
    cr_assert(xs_limits_look(&l));
    cr_assert(l.is_cgroup);
    cr_assert_eq(l.limit_bytes, 1048576u);
}

/* The cgroup has room, the machine has not. */
Test(limits, what_is_less)
{
    struct xs_limits l;

    put("/proc/self/cgroup", "0::/a\n");
    put("/sys/fs/cgroup/a/memory.max", "15000000\n");
    put("/sys/fs/cgroup/a/memory.current", "1000000\n");
    put("/proc/meminfo", "MemTotal:       16000 kB\nMemAvailable:    100 kB\n");
    cr_assert(xs_limits_look(&l));
    cr_assert(!l.is_cgroup);
    cr_assert_eq(l.used_bytes, 15900u << 10);
}

Test(limits, nothing_is_known)
{
    struct xs_limits l;

    xs_limits_root = "/nowhere";
    cr_assert(!xs_limits_look(&l));
    cr_assert_eq(l.limit_bytes, 0u);
    xs_limits_root = fake_root;
}
