#include "report/image.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fmt.h"
#include "policy/config.h"
#include "report/summary.h"
#include "sys/mem.h"
#include "sys/proc.h"
#include "xsigma.h"

XS_SELDOM static struct xs_image image;

/* A snapshot is followed by so many times as long without one. */
#define REST_TIMES   1024
#define REST_MOST_NS UINT64_C(10000000000)

static atomic_bool is_busy;
static uint64_t last_took_ns;

/* Its first page reads as zero in whatever copy there is of this process, from the first look on:
 * before that a small process has no page for it. */
XS_UNLIKELY_DATA static struct {
    _Alignas(XS_RECORD_PAGE) bool is_here; /* the process that the record is of */
    struct xs_report report;               /* too large for the stacks of small threads */
} looked;
XS_FORKED static bool is_wiped;

_Static_assert(sizeof(looked) >= XS_RECORD_PAGE, "what is wiped is nobody else's");

static void copy_text(char *out, size_t cap, const char *text)
{
    struct xs_buf b;

    xs_buf_init(&b, out, cap);
    xs_put_str(&b, text != NULL ? text : "");
}

/* ---- the settings ------------------------------------------------------------------------- */

static void put_clean(struct xs_buf *b, const char *text)
{
    for (; *text != '\0'; text++)
        xs_put_char(b, (unsigned char)*text < ' ' ? '?' : *text);
}

/* Whole lines only. */
static void end_line(struct xs_buf *b, size_t start)
{
    xs_put_char(b, '\n');
    if (!b->truncated)
        return;
    image.config_is_cut = 1;
    b->len = start;
    b->truncated = false;
}

static void put_setting(struct xs_buf *b, const char *name, const struct xs_value *v)
{
    size_t start = b->len;

    xs_fmt(b, "%s=", name);
    put_clean(b, v->text);
    xs_fmt(b, "\t%s", xs_config_source_name(v->source));
    end_line(b, start);
}

static bool has_settings(void)
{
    for (enum xs_knob k = 0; k < XS_KNOB_COUNT; k++)
        if (xs_config(k)->source != XS_SOURCE_DEFAULT)
            return true;
    return xs_config_device_value(0) != NULL || xs_config_warning(0) != NULL;
}

/* In so many bytes, which have pages then. */
static void put_config_in(size_t bytes)
{
    const struct xs_device_value *own;
    const char *warning;
    struct xs_buf b;

    image.config_is_cut = !xs_record_fill_part(&image, offsetof(struct xs_image, config), bytes);
    if (image.config_is_cut)
        return;
    xs_buf_init(&b, image.config, bytes);
    for (enum xs_knob k = 0; k < XS_KNOB_COUNT; k++)
        if (xs_config(k)->source != XS_SOURCE_DEFAULT)
            put_setting(&b, xs_knob_name(&xs_knob_rows[k]), xs_config(k));
    for (size_t i = 0; (own = xs_config_device_value(i)) != NULL; i++) {
        XS_BUF(name, 80);
        xs_config_device_name(&name, own->device, own->knob);
        put_setting(&b, name.at, &own->value);
    }
    for (size_t i = 0; (warning = xs_config_warning(i)) != NULL; i++) {
        size_t start = b.len;
        xs_put_char(&b, '!');
        put_clean(&b, warning);
        end_line(&b, start);
    }
    image.config_bytes = (uint32_t)b.len;
}

static void put_config(void)
{
    if (!has_settings())
        return;
    put_config_in(XS_RECORD_PAGE - offsetof(struct xs_image, config) % XS_RECORD_PAGE);
    if (image.config_is_cut)
        put_config_in(sizeof(image.config));
}

/* ---- the snapshot ------------------------------------------------------------------------- */

static void store(const struct xs_report *r)
{
    /* What no device has written to stays without pages. */
    if (!xs_record_fill(&image, r->gpu_count != 0
                                    ? sizeof(image)
                                    : offsetof(struct xs_image, report) + XS_REPORT_BYTES(0)))
        return;
    /* Odd before the first word of it is written, even after the last. */
    atomic_fetch_add_explicit(&image.changes, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(&image.report, r, XS_REPORT_BYTES(r->gpu_count));
    copy_text(image.how, sizeof(image.how), r->how);
    for (unsigned i = 0; i < XS_OWNER_COUNT; i++)
        copy_text(image.source[i], sizeof(image.source[i]), r->memory[i].source);
    for (unsigned d = 0; d < r->gpu_count; d++)
        copy_text(image.gpu_backend[d], sizeof(image.gpu_backend[d]), r->gpu[d].stats.backend);
    atomic_fetch_add_explicit(&image.changes, 1, memory_order_release);
}

static void take(bool is_point)
{
    struct xs_report *r = &looked.report;
    int cancel;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    xs_report_collect_quickly(r);
    if (xs_config(XS_KNOB_RECORD_RSS)->num != 0)
        r->rss_bytes = xs_proc_rss_now();
    store(r);
    if (is_point)
        xs_timeline_take(r);
    pthread_setcancelstate(cancel, NULL);
}

/* A large heap takes long to look through. Of two that took long, one may have been interrupted. */
static void rest(uint64_t took_ns)
{
    uint64_t ns = took_ns < last_took_ns ? took_ns : last_took_ns;

    last_took_ns = took_ns;
    ns = ns < REST_MOST_NS / REST_TIMES ? ns * REST_TIMES : REST_MOST_NS;
    xs_timeline_not_before(xs_proc_now_ns() + ns);
}

void xs_image_look(bool now)
{
    uint64_t start = xs_proc_now_ns();

    if (!now && !xs_timeline_is_due(start))
        return;
    if (atomic_exchange_explicit(&is_busy, true, memory_order_acquire))
        return;
    take(true);
    rest(xs_proc_now_ns() - start);
    atomic_store_explicit(&is_busy, false, memory_order_release);
}

void xs_image_start(void)
{
    (void)xs_record_area(XS_RECORD_PROCESS, &image, sizeof(image));
}

void xs_image_begin(const char *passive_owner)
{
    copy_text(image.version, sizeof(image.version), XSIGMA_VERSION);
    image.start_ns = xs_proc_now_ns() - xs_proc_wall_ns();
    xs_report_begin(&image.report);
    image.report.passive = passive_owner != NULL;
    copy_text(image.passive_owner, sizeof(image.passive_owner), passive_owner);
    put_config();
    xs_timeline_begin();
    /* Last: what has no size yet has nothing in it. */
    __atomic_store_n(&image.struct_bytes, sizeof(image), __ATOMIC_RELEASE);
}

/* A child in its parent's memory is none, and must change nothing. */
bool xs_image_is_copied(void)
{
    if (XS_LIKELY(looked.is_here))
        return false;
    if (is_wiped)
        return true;
    if (xs_record_mine() != NULL) {
        is_wiped = xs_mem_wipe_in_copies(&looked, XS_RECORD_PAGE);
        looked.is_here = true;
    }
    return false;
}

void xs_image_end(const struct xs_report *r)
{
    store(r);
}

void xs_image_fork_child(void)
{
    XS_CHANGE_TO(is_busy, false);
    XS_CHANGE_TO(is_wiped, false);
    XS_CHANGE_TO(looked.is_here, false);
    if (looked.report.pid != 0)
        memset(&looked.report, 0, XS_REPORT_BYTES(0));
    xs_timeline_fork_child();
}
