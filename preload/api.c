/* include/xsigma.h over the back ends. */
#include "xsigma.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/owner.h"
#include "base/align.h"
#include "policy/select.h"
#include "preload/api_gpu.h"
#include "preload/exports.h"
#include "preload/lifecycle.h"
#include "report/report.h"

XS_EXPORT const char *xsigma_version(void)
{
    return XSIGMA_VERSION;
}

static bool serves(const struct xs_backend *b, size_t align, size_t size)
{
    if (align > XS_ALIGN_OTHERS_MAX && b->owner != XS_OWNER_SYSTEM)
        return false;
    return b->owner != XS_OWNER_MIMALLOC ||
           (align <= xs_hot.mimalloc.align_max && size <= xs_hot.mimalloc.size_max);
}

/* The calls that attr asks for; its alignment in *align (0: none asked). */
static int resolve(const struct xsigma_attr *attr, size_t size, const struct xs_calls **calls,
                   size_t *align)
{
    *calls = &xs_hot.entry;
    *align = 0;
    if (attr == NULL)
        return 0;
    if (attr->attr_size < sizeof(*attr) || (attr->alignment != 0 && !xs_is_pow2(attr->alignment)) ||
        attr->alignment > XS_SIZE_MAX_REQUEST / 2)
        return EINVAL;
    if (attr->device != XSIGMA_HOST || attr->stream != NULL || attr->numa_node != XSIGMA_ANY_NODE)
        return ENOTSUP;
    *align = attr->alignment > 16 ? attr->alignment : 0;
    if (attr->backend != NULL) {
        const struct xs_backend *b = xs_backend_find(attr->backend, strlen(attr->backend));
        if (b == NULL || !xs_backend_is_open(b->owner) || xs_is_bypassed())
            return ENOENT;
        if (!serves(b, *align, size))
            return ENOTSUP;
        if (b->owner == XS_OWNER_SYSTEM)
            xs_system_begin();
        *calls = b->calls(xs_hot.counting);
    }
    return 0;
}

static void *allocate(const struct xs_calls *calls, size_t align, size_t size)
{
    if (size > XS_SIZE_MAX_REQUEST - align)
        return NULL;
    if (align == 0)
        return calls->malloc(size);
    /* The policy knows who can align so far; a named back end is taken at its word. */
    return calls == &xs_hot.entry ? xs_memalign(align, size) : calls->memalign(align, size);
}

XS_EXPORT int xsigma_alloc(void **out, size_t size, const struct xsigma_attr *attr)
{
    const struct xs_calls *calls;
    size_t align;
    int saved = errno;

    *out = NULL;
    if (xs_api_wants_device(attr))
        return xs_api_device_alloc(out, size, attr);
    int rc = resolve(attr, size, &calls, &align);
    if (rc != 0)
        return rc;
    *out = allocate(calls, align, size);
    errno = saved;
    return *out != NULL ? 0 : ENOMEM;
}

static bool is_aligned(const void *p, size_t align)
{
    return align == 0 || ((uintptr_t)p & (align - 1)) == 0;
}

XS_EXPORT int xsigma_realloc(void **block, size_t size, const struct xsigma_attr *attr)
{
    const struct xs_calls *calls;
    size_t align;
    int saved = errno;
    int rc = resolve(attr, size, &calls, &align);
    void *p = *block;

    if (rc == 0 && xs_api_is_device_block(p))
        rc = ENOTSUP;
    if (rc != 0)
        return rc;
    if (p == NULL || (attr == NULL || (attr->backend == NULL && align == 0))) {
        void *q = p == NULL ? allocate(calls, align, size) : xs_realloc(p, size);
        errno = saved;
        if (q == NULL && (p == NULL || size != 0))
            return ENOMEM;
        *block = q;
        return 0;
    }
    /* An alignment or a back end to keep: only a block made for them is sure to have both. */
    size_t old = xs_any_usable_size(p);
    const struct xs_backend *named =
        attr->backend != NULL ? xs_backend_find(attr->backend, strlen(attr->backend)) : NULL;
    bool stays = named == NULL || xs_owner_of(p) == named->owner;
    if (stays && is_aligned(p, align) && size <= old && size >= old / 2)
        return 0;
    void *q = allocate(calls, align, size);
    errno = saved;
    if (q == NULL)
        return ENOMEM;
    memcpy(q, p, old < size ? old : size);
    xs_hot.entry.free(p);
    *block = q;
    return 0;
}

XS_EXPORT void xsigma_free(void *block)
{
    if (!xs_api_device_free(block))
        xs_hot.entry.free(block);
}

XS_EXPORT int xsigma_alloc_batch(void **out, size_t count, size_t size,
                                 const struct xsigma_attr *attr)
{
    int rc = 0;
    size_t done = 0;

    while (rc == 0 && done < count) {
        rc = xsigma_alloc(&out[done], size, attr);
        done += rc == 0;
    }
    if (rc != 0) {
        xsigma_free_batch(out, done);
        for (size_t i = 0; i < count; i++)
            out[i] = NULL;
    }
    return rc;
}

XS_EXPORT void xsigma_free_batch(void *const *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        xsigma_free(blocks[i]);
}

XS_EXPORT int xsigma_trim(size_t pad)
{
    return xs_trim(pad);
}

static void copy_name(char out[16], const char *name)
{
    struct xs_buf b;

    xs_buf_init(&b, out, 16);
    xs_put_str(&b, name);
}

XS_EXPORT size_t xsigma_backends(struct xsigma_backend_info *out, size_t capacity)
{
    for (size_t i = 0; i < XS_OWNER_COUNT && i < capacity; i++) {
        out[i] = (struct xsigma_backend_info){0};
        copy_name(out[i].name, xs_backends[i]->name);
        out[i].is_open = xs_backend_is_open((enum xs_owner)i);
        for (uint32_t s = 0; s < xs_hot.step_count; s++)
            out[i].is_active |= xs_hot.step[s].owner == i;
    }
    return XS_OWNER_COUNT;
}

_Static_assert(XS_OWNER_COUNT <= XSIGMA_BACKENDS_MAX, "every back end fits a snapshot");
_Static_assert(XS_SIZE_BINS == 64, "the public histogram has as many bins");
_Static_assert(XS_UNKNOWN == XSIGMA_UNKNOWN, "unknown is spelled alike");

XS_EXPORT int xsigma_stats_snapshot(struct xsigma_stats *out)
{
    struct xs_report r;
    int saved = errno;

    if (out->stats_size != sizeof(*out))
        return EINVAL;
    xs_report_collect(&r, true);
    *out = (struct xsigma_stats){
        .stats_size = sizeof(*out),
        .counting = r.counting,
        .not_counting_ns = r.not_counting_ns,
        .wall_ns = r.wall_ns,
        .cpu_user_ns = r.user_ns,
        .cpu_sys_ns = r.sys_ns,
        .rss_bytes = r.rss_bytes,
        .rss_peak_bytes = r.rss_peak_bytes,
        .threads_now = r.threads_now,
        .threads_peak = r.threads_peak,
        .threads_total = r.threads_total,
        .backend_count = XS_OWNER_COUNT,
    };
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++) {
        const struct xs_counters *c = &r.counters[i];
        struct xsigma_backend_stats *b = &out->backends[i];
        copy_name(b->name, xs_backends[i]->name);
        b->allocations = xs_counters_allocations(c);
        b->frees = c->frees;
        b->reallocs = c->reallocs;
        b->failures = c->failures;
        b->realloc_failures = c->realloc_failures;
        b->requested_bytes = c->requested_bytes;
        b->live_blocks = xs_counters_live_blocks(c);
        b->in_use_bytes = r.memory[i].in_use_bytes;
        b->reserved_bytes = r.memory[i].reserved_bytes;
        b->reserved_peak_bytes = r.memory[i].reserved_peak_bytes;
        memcpy(b->size_bins, c->size_bin, sizeof(b->size_bins));
    }
    errno = saved;
    return 0;
}

XS_EXPORT int xsigma_stats_enable(int on)
{
    int saved = errno;

    if (xs_is_bypassed())
        return ENOTSUP;
    xs_policy_count(on != 0);
    errno = saved;
    return 0;
}
