/* tests/fuzz/policy_fuzz.c - what people write: the first byte says as what the rest is read. A
 * size, a time, a factor, a count, a choice, a route, or a configuration file, whose values must
 * then be within their rows' bounds. What is refused leaves no trace.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"
#include "policy/config.h"
#include "policy/route.h"
#include "tests/fuzz/fuzz.h"

const char fuzz_name[] = "policy";
const unsigned fuzz_profiles = 1;
const unsigned fuzz_random_inputs = 3000;

static uint64_t operations;

uint64_t fuzz_operations(void)
{
    return operations;
}

const char *fuzz_profile_name(unsigned profile)
{
    (void)profile;
    return "all";
}

void fuzz_set_profile(unsigned profile)
{
    (void)profile;
}

#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)

static void number(int (*read)(const char *text, size_t len, uint64_t *out), const char *text,
                   size_t len)
{
    uint64_t value = UNTOUCHED;
    int rc = read(text, len, &value);

    FUZZ_CHECK(rc == 0 || value == UNTOUCHED, "\"%s\": refused with %d, but it wrote", text, rc);
    uint64_t again = UNTOUCHED;
    FUZZ_CHECK(read(text, len, &again) == rc && again == value, "\"%s\": not the same twice", text);
}

static void route(const char *text, const char *choices, int count)
{
    struct xs_route r = {0};
    char why_mem[256];
    struct xs_buf why;

    xs_buf_init(&why, why_mem, sizeof(why_mem));
    if (xs_route_parse(text, choices, 0, &r, &why) != 0) {
        FUZZ_CHECK(why.len > 0, "\"%s\": refused without a reason", text);
        return;
    }
    FUZZ_CHECK(r.count >= 1 && r.count <= XS_ROUTE_MAX, "\"%s\": %zu steps", text, r.count);
    for (size_t i = 0; i < r.count; i++) {
        FUZZ_CHECK(r.step[i].choice >= 0 && r.step[i].choice < count, "\"%s\": no such choice",
                   text);
        FUZZ_CHECK(i == 0 || r.step[i].last > r.step[i - 1].last, "\"%s\": order", text);
    }
    FUZZ_CHECK(r.step[r.count - 1].last == SIZE_MAX, "\"%s\": sizes are left over", text);
}

static void check_value(const struct xs_knob_row *row, const struct xs_value *v)
{
    FUZZ_CHECK(v->text != NULL && strlen(v->text) < 65536, "%s has no text", xs_knob_name(row));
    bool has_bounds = row->type == XS_TYPE_COUNT || row->type == XS_TYPE_TIME ||
                      row->type == XS_TYPE_FACTOR ||
                      (row->type == XS_TYPE_SIZE &&
                       (xs_knob_choices(row) == NULL ||
                        xs_text_choice(xs_knob_choices(row), v->text, strlen(v->text)) < 0));
    if (has_bounds)
        FUZZ_CHECK(v->num >= row->min && v->num <= row->max, "%s=%s is out of bounds: %lu",
                   xs_knob_name(row), v->text, (unsigned long)v->num);
    if ((row->flags & XS_KNOB_POW2) != 0)
        FUZZ_CHECK((v->num & (v->num - 1)) == 0, "%s=%s is no power of two", xs_knob_name(row),
                   v->text);
    if (row->type == XS_TYPE_BOOL)
        FUZZ_CHECK(v->num <= 1, "%s=%s", xs_knob_name(row), v->text);
}

static void file(const char *text, size_t len)
{
    static int fd = -1;
    static char path[64];

    if (fd < 0) {
        fd = memfd_create("config", 0);
        FUZZ_CHECK(fd >= 0, "no memory file");
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        (void)setenv("XSIGMA_CONFIG", path, 1);
    }
    FUZZ_CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len, "no write");
    xs_config_load(false);
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++)
        check_value(&xs_knob_rows[k], xs_config((enum xs_knob)k));
    for (size_t i = 0; xs_config_device_value(i) != NULL; i++)
        check_value(&xs_knob_rows[xs_config_device_value(i)->knob],
                    &xs_config_device_value(i)->value);
    for (size_t i = 0; xs_config_warning(i) != NULL; i++)
        FUZZ_CHECK(strlen(xs_config_warning(i)) < 512, "a long warning");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[8192];
    struct fuzz_input in = {data, size};
    unsigned what = fuzz_byte(&in) % 8;
    size_t len = in.left < sizeof(text) - 1 ? in.left : sizeof(text) - 1;

    if (len > 0)
        memcpy(text, in.at, len);
    text[len] = '\0';
    operations++;
    switch (what) {
    case 0:
        number(xs_text_size, text, len);
        break;
    case 1:
        number(xs_text_time, text, len);
        break;
    case 2:
        number(xs_text_factor, text, len);
        number(xs_text_count, text, len);
        break;
    case 3:
        (void)xs_text_choice(XS_CPU_NAMES, text, len);
        (void)xs_text_distance(text, "XSIGMA_CPU_BACKEND");
        break;
    case 4:
        route(text, XS_CPU_NAMES, 4);
        break;
    case 5:
        route(text, XS_GPU_NAMES, 5);
        break;
    default:
        file(text, len);
        break;
    }
    return 0;
}
