/* tests/fuzz/record_fuzz.c - the reader of records: whatever is in the file, it is refused or
 * turned into a snapshot that can be printed.
 *
 * An input is a list of changes to a whole record: where, how many bytes, which; or it cuts the
 * file short. A change aims at the places that say where other things are, most of the time.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "core/heap_counts.h"
#include "policy/config.h"
#include "report/image.h"
#include "tests/fuzz/fuzz.h"
#include "xsigma.h"

const char fuzz_name[] = "record";
const unsigned fuzz_profiles = 1;
const unsigned fuzz_random_inputs = 400;

#define PAGES      160u
#define FILE_BYTES ((size_t)PAGES * XS_RECORD_PAGE)

static _Alignas(XS_RECORD_PAGE) unsigned char whole[FILE_BYTES];
static _Alignas(XS_RECORD_PAGE) unsigned char changed[FILE_BYTES];
static struct xs_recorded out;
static uint64_t operations;
static uint64_t printed;
static uint64_t read_well;

void fuzz_set_profile(unsigned profile)
{
    (void)profile;
}

const char *fuzz_profile_name(unsigned profile)
{
    (void)profile;
    return "the one";
}

uint64_t fuzz_operations(void)
{
    return operations;
}

/* ---- a record as a process leaves it ------------------------------------------------------ */

static size_t file_end = XS_RECORD_BYTES;

static void *add(enum xs_record_section kind, size_t bytes)
{
    struct xs_record *r = (struct xs_record *)(void *)whole;
    size_t at = file_end;

    bytes = (bytes + XS_RECORD_PAGE - 1) / XS_RECORD_PAGE * XS_RECORD_PAGE;
    FUZZ_CHECK(at + bytes <= FILE_BYTES, "PAGES is too small");
    uint32_t n = atomic_load(&r->sections);
    r->section[n] = (struct xs_record_entry){.kind = kind, .offset = at, .bytes = bytes};
    atomic_store(&r->sections, n + 1);
    file_end += bytes;
    return whole + at;
}

static void make_whole(void)
{
    struct xs_record *r = (struct xs_record *)(void *)whole;

    r->head = (struct xs_record_head){.magic = XS_RECORD_MAGIC,
                                      .version = XS_RECORD_VERSION,
                                      .bytes = XS_RECORD_BYTES,
                                      .pid = 4242,
                                      .program = "pricer"};
    struct xs_image *image = add(XS_RECORD_PROCESS, sizeof(*image));
    image->struct_bytes = sizeof(*image);
    strcpy(image->version, XSIGMA_VERSION);
    image->report.open[XS_OWNER_BFC] = image->report.active[XS_OWNER_BFC] = true;
    image->report.has_core = image->report.counting = true;
    image->report.wall_ns = 1000000;
    image->report.gpu_count = 2;
    image->report.gpu[0].stats.hits = 900;
    image->report.gpu[0].stats.misses_evicted = 200;
    image->report.gpu[1].device = 3;
    strcpy(image->gpu_backend[0], "caching");
    strcpy(image->config, "XSIGMA_STATS=1\tenv\nXSIGMA_GPU1_CACHE_MAX=64M\tfile\n!a warning\n");
    image->config_bytes = (uint32_t)strlen(image->config);
    struct xs_slot_block *slots = add(XS_RECORD_SLOTS, sizeof(*slots));
    slots->slot[0].by_owner[XS_OWNER_SYSTEM].size_bin[4] = 3;
    struct xs_heap_counts *heaps = add(XS_RECORD_HEAPS, 2 * sizeof(*heaps));
    heaps[1].taken[xs_class_of(96)] = 1000;
    struct xs_counted_switched *off = add(XS_RECORD_SWITCH, sizeof(*off));
    off->skipped.frees = 1;
    struct xs_timeline *t = add(XS_RECORD_TIMELINE, sizeof(*t));
    t->count = XS_TIMELINE_POINTS;
    for (uint64_t i = 0; i < t->count; i++)
        t->point[i].t_ns = i + 1;
    struct xs_timeline_gpu *g = add(XS_RECORD_TIMELINE_GPU, sizeof(*g));
    g->device = 3;
    struct xs_size_counts *sizes = add(XS_RECORD_SIZES, sizeof(*sizes));
    sizes->taken[48] = 7;
}

/* ---- an input ----------------------------------------------------------------------------- */

/* What says how many of something there are. */
static size_t count_place(unsigned n)
{
    const struct xs_record *r = (const struct xs_record *)(const void *)whole;
    const size_t image = r->section[0].offset;
    const size_t timeline = r->section[4].offset;
    const size_t places[] = {
        image + offsetof(struct xs_image, report.gpu_count),
        image + offsetof(struct xs_image, config_bytes),
        image + offsetof(struct xs_image, report.gpu[1].device),
        timeline + offsetof(struct xs_timeline, count),
        offsetof(struct xs_record, sections),
    };

    return places[n % XS_COUNT_OF(places)];
}

/* Places that matter: the head, the directory, the snapshot, the head of each section. */
static size_t place(struct fuzz_input *in)
{
    const struct xs_record *r = (const struct xs_record *)(const void *)whole;
    unsigned kind = fuzz_byte(in);
    unsigned n = fuzz_two(in);
    const uint32_t sections = atomic_load(&r->sections);

    switch (kind % 6) {
    case 0:
        return n % sizeof(r->head);
    case 1:
        return offsetof(struct xs_record, sections) + n % (16 + sections * sizeof(r->section[0]));
    case 2:
        return r->section[0].offset + n % sizeof(struct xs_image);
    case 3:
        return r->section[n % sections].offset + n / sections % 64;
    case 4:
        return count_place(n);
    default:
        return (size_t)n * 10 % file_end;
    }
}

static void sink(const char *text, size_t len, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        FUZZ_CHECK(text[i] != '\0', "a NUL in the report");
    printed += len;
}

static void use_setting(const char *name, const char *text, const char *source, void *arg)
{
    (void)arg;
    if (name != NULL)
        xs_config_restore(name, text, source);
    else
        xs_config_warn("%s", text);
}

static void print_all(void)
{
    struct xs_report *r = &out.report;

    xs_config_forget();
    xs_image_each_setting(&out, use_setting, NULL);
    xs_report_text(r, true, sink, NULL);
    xs_report_text(r, false, sink, NULL);
    xs_report_json(r, sink, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    size_t bytes;

    if (file_end == XS_RECORD_BYTES) {
        make_whole();
        struct xs_record_bytes r = {whole, file_end};
        FUZZ_CHECK(xs_image_read(&r, &out) == 0, "the whole record is refused");
        FUZZ_CHECK(out.report.counters[XS_OWNER_BFC].size_bin[7] == 1000, "its counts are wrong");
        FUZZ_CHECK(out.timeline.count == XS_TIMELINE_POINTS, "its timeline is not whole");
    }
    memcpy(changed, whole, file_end);
    bytes = file_end;
    while (in.left > 0) {
        unsigned n = fuzz_byte(&in);
        operations++;
        if (n == 255) {
            bytes = (size_t)fuzz_two(&in) * 10 % (file_end + 1);
            continue;
        }
        size_t at = place(&in);
        for (n = n % 8 + 1; n > 0 && at < file_end; n--)
            changed[at++] = (unsigned char)fuzz_byte(&in);
    }
    /* Of the exact size, so that a sanitizer sees reads past its end. */
    unsigned char *copy =
        aligned_alloc(XS_RECORD_PAGE, (bytes / XS_RECORD_PAGE + 1) * XS_RECORD_PAGE);
    FUZZ_CHECK(copy != NULL, "no memory");
    memcpy(copy, changed, bytes);
    const struct xs_record_bytes r = {copy, bytes};
    int rc = xs_image_read(&r, &out);
    FUZZ_CHECK(rc == 0 || rc == EBADMSG || rc == ENOTSUP || rc == ENODATA, "error %d", rc);
    if (rc == 0) {
        read_well++;
        print_all();
    }
    free(copy);
    return 0;
}
