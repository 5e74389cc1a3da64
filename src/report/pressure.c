#include "report/pressure.h"

#include "backend/hot.h"
#include "core/heap.h"
#include "core/supply.h"
#include "policy/config.h"
#include "report/gpu.h"
#include "report/log.h"
#include "sys/mem.h"
#include "sys/proc.h"

/* Holders in a line, largest first. */
#define HOLDERS_MOST  8
#define HOLDERS_SHOWN 4

struct holder {
    const char *what;
    uint64_t bytes;
};

const char *xs_report_pressure_of(enum xs_pressure_of of)
{
    static const char names[][24] = {"the machine", "the memory cgroup", "XSIGMA_MEMORY_LIMIT",
                                     "the allowed NUMA nodes"};

    return (unsigned)of < XS_COUNT_OF(names) ? names[of]
                                             : "the machine"; /* a record may say more */
}

static void insert(struct holder list[], unsigned *n, const char *what, uint64_t bytes)
{
    unsigned at = *n;

    if (bytes == 0 || bytes == XS_UNKNOWN || *n == HOLDERS_MOST)
        return;
    for (; at > 0 && list[at - 1].bytes < bytes; at--)
        list[at] = list[at - 1];
    list[at] = (struct holder){what, bytes};
    (*n)++;
}

/* What the GPU's caches hold of the host's memory cannot be told from the device's here; both go
 * back to the driver. */
static uint64_t gpu_cached(void)
{
    unsigned devices = xs_gpu_device_count();
    uint64_t bytes = 0;

    for (unsigned d = 0; d < devices; d++) {
        struct xs_gpu_stats s;
        if (xs_gpu_stats_get(d, &s, false))
            bytes += s.cached_bytes;
    }
    return bytes;
}

static void put_holders(struct xs_buf *b)
{
    struct holder list[HOLDERS_MOST];
    struct xs_heap_stats core;
    uint64_t rss;
    uint64_t peak;
    unsigned n = 0;

    if (xs_backend_is_open(XS_OWNER_BFC) && xs_heap_stats_get(&core, false)) {
        uint64_t free = core.bfc.free_bytes - core.bfc.purged_bytes;
        insert(list, &n, "bfc in use", core.in_use_bytes);
        insert(list, &n, "bfc in caches", core.bfc.in_use_bytes - core.in_use_bytes);
        insert(list, &n, "bfc free", free);
    }
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        struct xs_backend_memory m;
        if (i == XS_OWNER_BFC || i == XS_OWNER_SYSTEM || !xs_backend_is_open((enum xs_owner)i))
            continue;
        xs_backends[i]->memory(&m, false);
        insert(list, &n, xs_backends[i]->name, m.reserved_bytes);
    }
    insert(list, &n, "GPU caches", gpu_cached());
    xs_proc_rss(&rss, &peak);
    xs_put_str(b, "resident ");
    if (rss != 0)
        xs_put_bytes(b, rss);
    else /* no /proc */
        xs_put_str(b, "unknown");
    for (unsigned i = 0; i < n && i < HOLDERS_SHOWN; i++) {
        xs_fmt(b, ", %s ", list[i].what);
        xs_put_bytes(b, list[i].bytes);
    }
}

static void say(const struct xs_pressure *p)
{
    XS_BUF(b, 400);

    xs_put_str(&b, "memory runs short: ");
    xs_put_bytes(&b, p->used_bytes);
    xs_put_str(&b, " of ");
    xs_put_bytes(&b, p->limit_bytes);
    xs_fmt(&b, " of %s used (%.0f%%)", xs_report_pressure_of(p->of),
           (double)p->used_bytes * 100.0 / (double)p->limit_bytes);
    if (p->wanted_bytes > p->limit_bytes / 100) {
        xs_put_str(&b, ", ");
        xs_put_bytes(&b, p->wanted_bytes);
        xs_put_str(&b, " more wanted");
    }
    if (p->stalled >= 100)
        xs_fmt(&b, ", processes waited for it %u%% of the time", p->stalled / 100);
    xs_put_str(&b, "; ");
    xs_put_bytes(&b, p->given_bytes);
    xs_put_str(&b, " given back; this process: ");
    put_holders(&b);
    xs_log("%s", b.at);
}

static void say_failure(size_t size)
{
    struct xs_supply_stats own;
    struct xs_pressure_stats s;
    uint64_t limit = xs_config(XS_KNOB_BFC_LIMIT)->num;
    XS_BUF(b, 400);

    xs_pressure_stats(&s);
    xs_supply_stats(&own);
    xs_put_str(&b, "out of memory: an allocation ");
    if (size != 0) { /* else mimalloc did not say */
        xs_put_str(&b, "of ");
        xs_put_bytes(&b, size);
        xs_put_char(&b, ' ');
    }
    xs_put_str(&b, "returns NULL");
    if (own.limit_bytes != 0) {
        xs_put_str(&b, "; XSIGMA_MEMORY_LIMIT=");
        xs_put_bytes(&b, own.limit_bytes);
    }
    if (limit != 0) {
        xs_put_str(&b, "; XSIGMA_BFC_LIMIT=");
        xs_put_bytes(&b, limit);
    }
    if (xs_mem_limit() != UINT64_MAX) {
        xs_put_str(&b, "; ulimit -v or -d is ");
        xs_put_bytes(&b, xs_mem_limit());
    }
    if (s.last.limit_bytes != 0 && s.last.of != XS_PRESSURE_LIMIT) {
        xs_fmt(&b, "; of %s ", xs_report_pressure_of(s.last.of));
        xs_put_bytes(&b, s.last.used_bytes);
        xs_put_str(&b, " of ");
        xs_put_bytes(&b, s.last.limit_bytes);
        xs_put_str(&b, " were used");
    }
    xs_put_str(&b, "; this process: ");
    put_holders(&b);
    xs_log("%s", b.at);
}

void xs_report_pressure_start(bool is_root)
{
    bool says = is_root || xs_config(XS_KNOB_LOG)->source != XS_SOURCE_DEFAULT;
    const struct xs_pressure_options options = {
        .warn_permille = (unsigned)xs_config(XS_KNOB_PRESSURE_WARN)->num * 10,
        .say = says ? say : NULL,
        .say_failure = says ? say_failure : NULL,
    };

    xs_pressure_open(&options);
}
