#include "sys/numa.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "sys/filter.h"
#include "sys/io.h"

/* The kernel's numbers, which have no header outside libnuma. */
enum { MPOL_PREFERRED = 1, MPOL_BIND = 2, MPOL_INTERLEAVE = 3, MPOL_F_MEMS_ALLOWED = 4 };

/* With these flags nodes are numbered among the allowed ones, or as they were given. */
enum { MPOL_F_NUMA_BALANCING = 1 << 13, MPOL_F_STATIC_NODES = 1 << 15 };

/* Bits of a mask as the kernel may want them. */
#define MASK_BITS  1024
#define MASK_WORDS (MASK_BITS / (8 * sizeof(unsigned long)))

static long call_get_mempolicy(int *mode, unsigned long *mask, unsigned long bits, void *at,
                               int flags)
{
    return syscall(SYS_get_mempolicy, mode, mask, bits, at, flags);
}

static long call_mbind(void *p, unsigned long size, int mode, const unsigned long *mask,
                       unsigned long bits, unsigned flags)
{
    return syscall(SYS_mbind, p, size, mode, mask, bits, flags);
}

static int call_getcpu(unsigned *cpu, unsigned *node)
{
    return getcpu(cpu, node); /* no system call: the kernel keeps it where we can read it */
}

struct xs_numa_calls xs_numa_calls = {call_get_mempolicy, call_mbind, call_getcpu};

static struct {
    enum xs_numa how;
    unsigned parts;
    uint64_t allowed;
    uint64_t nodes;                 /* that the policy names, of the allowed ones */
    uint8_t part_of[XS_NUMA_NODES]; /* by node */
    uint8_t node_of[XS_NUMA_NODES]; /* by part */
} numa = {.parts = 1, .allowed = 1};

static uint64_t allowed_nodes(void)
{
    unsigned long mask[MASK_WORDS] = {0};

    if (xs_numa_calls.get_mempolicy(NULL, mask, MASK_BITS, NULL, MPOL_F_MEMS_ALLOWED) != 0 ||
        mask[0] == 0)
        return 1;
    return mask[0];
}

int xs_numa_open(enum xs_numa how, uint64_t nodes)
{
    numa.how = XS_NUMA_OFF;
    numa.parts = 1;
    if (how == XS_NUMA_OFF)
        return 0;
    numa.allowed = allowed_nodes();
    numa.nodes =
        how == XS_NUMA_BIND || how == XS_NUMA_PREFERRED ? nodes & numa.allowed : numa.allowed;
    if (numa.nodes == 0)
        return ENODEV;
    if (xs_numa_count() == 1)
        return 0;
    numa.how = how;
    if (how != XS_NUMA_LOCAL)
        return 0;
    numa.parts = 0;
    for (unsigned n = 0; n < XS_NUMA_NODES; n++) {
        /* A node without memory of its own: the first one's. */
        numa.part_of[n] = 0;
        if ((numa.allowed >> n & 1) == 0)
            continue;
        numa.part_of[n] = (uint8_t)numa.parts;
        numa.node_of[numa.parts++] = (uint8_t)n;
    }
    return 0;
}

unsigned xs_numa_parts(void)
{
    return numa.parts;
}

bool xs_numa_interleaves(void)
{
    return numa.how == XS_NUMA_INTERLEAVE;
}

unsigned xs_numa_count(void)
{
    return (unsigned)__builtin_popcountll(numa.allowed);
}

uint64_t xs_numa_bound(void)
{
    unsigned long mask[MASK_WORDS] = {0};
    int mode = 0;

    if (numa.how != XS_NUMA_OFF)
        return numa.how == XS_NUMA_BIND ? numa.nodes : 0;
    /* A filter that was there before us might kill for this call. */
    if (xs_filter_was_before() ||
        xs_numa_calls.get_mempolicy(&mode, mask, MASK_BITS, NULL, 0) != 0 ||
        (mode & ~(MPOL_F_NUMA_BALANCING | MPOL_F_STATIC_NODES)) != MPOL_BIND)
        return 0;
    return mask[0];
}

unsigned xs_numa_here(void)
{
    unsigned cpu;
    unsigned node;

    if (XS_LIKELY(numa.parts == 1) || xs_numa_calls.getcpu(&cpu, &node) != 0 ||
        node >= XS_NUMA_NODES)
        return 0;
    return numa.part_of[node];
}

void xs_numa_place(void *p, size_t size, unsigned part)
{
    static const int modes[] = {0, MPOL_PREFERRED, MPOL_INTERLEAVE, MPOL_BIND, MPOL_PREFERRED};
    unsigned long mask[MASK_WORDS] = {numa.nodes};

    if (XS_LIKELY(numa.how == XS_NUMA_OFF))
        return;
    if (numa.how == XS_NUMA_LOCAL && part == XS_NUMA_ANY)
        return; /* then they are the first toucher's, which is the best that can be had */
    if (numa.how == XS_NUMA_LOCAL)
        mask[0] = 1ul << numa.node_of[part];
    (void)xs_numa_calls.mbind(p, size, modes[numa.how], mask, MASK_BITS, 0);
}

/* ---- lists as the kernel writes them ---------------------------------------------------- */

static bool number(const char **at, unsigned *n)
{
    const char *c = *at;

    *n = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        if (*n > 100000)
            return false;
        *n = *n * 10 + (unsigned)(*c - '0');
    }
    if (c == *at)
        return false;
    *at = c;
    return true;
}

/* Calls `use` with each range of a list such as "0-3,8"; false if it is none. */
static bool each_range(const char *list, bool (*use)(unsigned from, unsigned to, void *arg),
                       void *arg)
{
    for (;; list++) {
        unsigned from;
        unsigned to;

        if (!number(&list, &from))
            return false;
        to = from;
        if (*list == '-') {
            list++;
            if (!number(&list, &to) || to < from)
                return false;
        }
        if (!use(from, to, arg))
            return false;
        if (*list != ',')
            return *list == '\0' || *list == '\n';
    }
}

static bool add_nodes(unsigned from, unsigned to, void *arg)
{
    uint64_t *nodes = arg;

    if (to >= XS_NUMA_NODES)
        return false;
    for (; from <= to; from++)
        *nodes |= (uint64_t)1 << from;
    return true;
}

bool xs_numa_parse(const char *list, uint64_t *nodes)
{
    *nodes = 0;
    return each_range(list, add_nodes, nodes);
}

static bool add_cpus(unsigned from, unsigned to, void *arg)
{
    for (; from <= to && from < CPU_SETSIZE; from++)
        CPU_SET(from, (cpu_set_t *)arg);
    return true;
}

int xs_numa_run(uint64_t nodes)
{
    cpu_set_t wanted;
    cpu_set_t may;

    CPU_ZERO(&wanted);
    for (unsigned n = 0; n < XS_NUMA_NODES; n++) {
        char text[2048];
        XS_BUF(path, 64);
        if ((nodes >> n & 1) == 0)
            continue;
        xs_fmt(&path, "/sys/devices/system/node/node%u/cpulist", n);
        if (xs_io_read_file(path.at, text, sizeof(text)) > 0)
            (void)each_range(text, add_cpus, &wanted);
    }
    if (sched_getaffinity(0, sizeof(may), &may) != 0)
        return errno;
    CPU_AND(&wanted, &wanted, &may);
    if (CPU_COUNT(&wanted) == 0)
        return ENODEV;
    return sched_setaffinity(0, sizeof(wanted), &wanted) == 0 ? 0 : errno;
}
