#include "policy/config.h"

#include <errno.h>
#include <string.h>

#include "base/align.h"
#include "base/text.h"
#include "policy/preset.h"
#include "policy/route.h"
#include "sys/env.h"
#include "sys/io.h"
#include "sys/numa.h"

#define PREFIX            "XSIGMA_"
#define PREFIX_LEN        (sizeof(PREFIX) - 1)
#define WARNINGS_MAX      32
#define NAME_MAX_LEN      64
#define DEVICES_MAX       64
#define DEVICE_VALUES_MAX 64

/* All texts, one behind the other. */
static const struct texts {
#define X(type, id, name, def, min, max, choices, flags, help)                                     \
    char name_##id[sizeof(PREFIX name)];                                                           \
    char def_##id[sizeof(def)];                                                                    \
    char choices_##id[sizeof(choices)];
    XS_KNOBS(X)
#undef X
} texts = {
#define X(type, id, name, def, min, max, choices, flags, help) PREFIX name, def, choices,
    XS_KNOBS(X)
#undef X
};

XS_SELDOM_READ static const struct helps {
#define X(type, id, name, def, min, max, choices, flags, help) char id[sizeof(help)];
    XS_KNOBS(X)
#undef X
} helps = {
#define X(type, id, name, def, min, max, choices, flags, help) help,
    XS_KNOBS(X)
#undef X
};
_Static_assert(sizeof(texts) <= UINT16_MAX && sizeof(helps) <= UINT16_MAX, "places of texts");

#define PLACE(member) ((uint16_t)offsetof(struct texts, member))
const struct xs_knob_row xs_knob_rows[XS_KNOB_COUNT] = {
#define X(type, id, name, def, min, max, choices, flags, help)                                     \
    {min,                                                                                          \
     max,                                                                                          \
     XS_TYPE_##type,                                                                               \
     flags,                                                                                        \
     PLACE(name_##id),                                                                             \
     PLACE(def_##id),                                                                              \
     PLACE(choices_##id),                                                                          \
     (uint16_t)offsetof(struct helps, id)},
    XS_KNOBS(X)
#undef X
};

static const char *text_at(uint16_t place)
{
    return (const char *)&texts + place;
}

const char *xs_knob_name(const struct xs_knob_row *row)
{
    return text_at(row->name);
}

const char *xs_knob_def(const struct xs_knob_row *row)
{
    return text_at(row->def);
}

const char *xs_knob_choices(const struct xs_knob_row *row)
{
    const char *choices = text_at(row->choices);

    return choices[0] != '\0' ? choices : NULL;
}

const char *xs_knob_help(const struct xs_knob_row *row)
{
    return (const char *)&helps + row->help;
}

static struct xs_value values[XS_KNOB_COUNT];
XS_UNLIKELY_DATA static struct xs_device_value device_values[DEVICE_VALUES_MAX];
static size_t device_value_count;
static bool is_loaded;

/* Copies of texts and warnings. The environment itself may be overwritten by the program. */
XS_SELDOM static char arena[32768];
static size_t arena_used;
/* A few short ones take no page of their own. */
static char few_texts[64];
static size_t few_used;
XS_UNLIKELY_DATA static const char *warnings[WARNINGS_MAX];
static size_t warning_count;

static const char *keep(const char *text, size_t len)
{
    if (len == 0) /* the usual one costs no page */
        return "";
    bool is_short = len < sizeof(few_texts) - few_used;
    if (!is_short && len >= sizeof(arena) - arena_used)
        return NULL;
    size_t *used = is_short ? &few_used : &arena_used;
    char *at = (is_short ? few_texts : arena) + *used;
    memcpy(at, text, len);
    at[len] = '\0';
    *used += len + 1;
    return at;
}

void xs_config_warn(const char *format, ...)
{
    XS_BUF(line, 512);
    va_list ap;

    va_start(ap, format);
    xs_vfmt(&line, format, ap);
    va_end(ap);
    if (warning_count < WARNINGS_MAX) {
        const char *kept = keep(line.at, line.len);
        if (kept != NULL)
            warnings[warning_count++] = kept;
    }
}

const char *xs_config_warning(size_t i)
{
    return i < warning_count ? warnings[i] : NULL;
}

const struct xs_value *xs_config(enum xs_knob knob)
{
    return &values[knob];
}

bool xs_config_is_loaded(void)
{
    return is_loaded;
}

static struct xs_device_value *find_device_value(unsigned device, enum xs_knob knob)
{
    for (size_t i = 0; i < device_value_count; i++)
        if (device_values[i].device == device && device_values[i].knob == knob)
            return &device_values[i];
    return NULL;
}

const struct xs_value *xs_config_device(unsigned device, enum xs_knob knob)
{
    const struct xs_device_value *own = find_device_value(device, knob);

    return own != NULL ? &own->value : &values[knob];
}

const struct xs_device_value *xs_config_device_value(size_t i)
{
    return i < device_value_count ? &device_values[i] : NULL;
}

void xs_config_device_name(struct xs_buf *b, unsigned device, enum xs_knob knob)
{
    const char *row = xs_knob_name(&xs_knob_rows[knob]);

    xs_fmt(b, PREFIX "GPU%u%s", device, row + PREFIX_LEN + strlen("GPU"));
}

const char *xs_config_source_name(enum xs_source source)
{
    static const char names[][8] = {"default", "cgroup", "preset", "file", "env"};

    return names[source];
}

void xs_config_grammar(struct xs_buf *b, const struct xs_knob_row *row)
{
    switch (row->type) {
    case XS_TYPE_BOOL:
        xs_put_str(b, "0|1 (also off|on, no|yes, false|true)");
        break;
    case XS_TYPE_CHOICE:
        xs_put_str(b, xs_knob_choices(row));
        break;
    case XS_TYPE_SIZE:
        xs_put_str(b, "size such as 64K, 1.5G or 512MiB, ");
        if ((row->flags & XS_KNOB_POW2) != 0)
            xs_put_str(b, "a power of two ");
        xs_put_str(b, "from ");
        xs_put_size(b, row->min);
        xs_put_str(b, " to ");
        xs_put_size(b, row->max);
        if (xs_knob_choices(row) != NULL)
            xs_fmt(b, ", or %s", xs_knob_choices(row));
        break;
    case XS_TYPE_COUNT:
        xs_fmt(b, "whole number from %lu to %lu", (unsigned long)row->min, (unsigned long)row->max);
        break;
    case XS_TYPE_TIME:
        xs_fmt(b, "time such as 500ms, 2s or 1h, at most %lus",
               (unsigned long)(row->max / XS_SECONDS(1)));
        break;
    case XS_TYPE_FACTOR:
        xs_fmt(b, "number such as 1.5, from %lu to %lu", (unsigned long)(row->min / 1000),
               (unsigned long)(row->max / 1000));
        break;
    case XS_TYPE_PERCENT:
        xs_put_str(b, "per cent such as 90%, from 0 to 100");
        break;
    case XS_TYPE_NODES:
        xs_fmt(b, "%s and nodes such as 0-1,3", xs_knob_choices(row));
        break;
    case XS_TYPE_TEXT:
        xs_put_str(b, "text");
        break;
    case XS_TYPE_ROUTE:
        xs_put_str(b, row == &xs_knob_rows[XS_KNOB_GPU_ROUTE] ? XS_ROUTE_GPU_GRAMMAR
                                                              : XS_ROUTE_GRAMMAR);
        break;
    }
}

static int parse_route(const struct xs_knob_row *row, const char *text)
{
    XS_BUF(why, 8);
    struct xs_route route;

    return xs_route_parse(text, xs_knob_choices(row), 0, &route, &why);
}

/* A word of the choices, or one that ends in a colon and a list behind it. */
static int parse_nodes(const struct xs_knob_row *row, const char *text, uint64_t *choice,
                       uint64_t *nodes)
{
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) + 1 : strlen(text);
    uint64_t list = 0;
    int found = xs_text_choice(xs_knob_choices(row), text, len);

    if (found < 0 && colon == NULL) /* a list alone, where that is a choice */
        found = xs_numa_parse(text, &list) ? xs_text_choice(xs_knob_choices(row), ":", 1) : -1;
    else if (colon != NULL && !xs_numa_parse(colon + 1, &list))
        found = -1;
    if (found < 0)
        return EINVAL;
    *choice = (uint64_t)found;
    if (nodes != NULL)
        *nodes = list;
    return 0;
}

uint64_t xs_config_nodes(enum xs_knob knob)
{
    uint64_t choice;
    uint64_t nodes = 0;

    (void)parse_nodes(&xs_knob_rows[knob], xs_config(knob)->text, &choice, &nodes);
    return nodes;
}

int xs_config_parse(const struct xs_knob_row *row, const char *text, uint64_t *out)
{
    size_t len = strlen(text);
    uint64_t v = 0;
    bool b = false;
    int choice;
    int rc = 0;

    switch (row->type) {
    case XS_TYPE_BOOL:
        rc = xs_text_bool(text, &b);
        v = b;
        break;
    case XS_TYPE_CHOICE:
        choice = xs_text_choice(xs_knob_choices(row), text, len);
        rc = choice < 0 ? EINVAL : 0;
        v = (uint64_t)choice;
        break;
    case XS_TYPE_SIZE:
        choice =
            xs_knob_choices(row) != NULL ? xs_text_choice(xs_knob_choices(row), text, len) : -1;
        if (choice >= 0) {
            v = (uint64_t)choice; /* callers tell words from sizes by the text */
            break;
        }
        rc = xs_text_size(text, len, &v);
        if (rc == 0 && (v < row->min || v > row->max))
            rc = ERANGE;
        if (rc == 0 && (row->flags & XS_KNOB_POW2) != 0 && !xs_is_pow2(v))
            rc = EINVAL;
        break;
    case XS_TYPE_COUNT:
        rc = xs_text_count(text, len, &v);
        if (rc == 0 && (v < row->min || v > row->max))
            rc = ERANGE;
        break;
    case XS_TYPE_TIME:
        rc = xs_text_time(text, len, &v);
        if (rc == 0 && (v < row->min || v > row->max))
            rc = ERANGE;
        break;
    case XS_TYPE_FACTOR:
        rc = xs_text_factor(text, len, &v);
        if (rc == 0 && (v < row->min || v > row->max))
            rc = ERANGE;
        break;
    case XS_TYPE_PERCENT:
        rc = xs_text_count(text, len - (len > 1 && text[len - 1] == '%'), &v);
        if (rc == 0 && v > 100)
            rc = ERANGE;
        break;
    case XS_TYPE_NODES:
        rc = parse_nodes(row, text, &v, NULL);
        break;
    case XS_TYPE_TEXT:
        break;
    case XS_TYPE_ROUTE:
        rc = text[0] == '\0' ? 0 : parse_route(row, text);
        break;
    }
    if (rc == 0)
        *out = v;
    return rc;
}

/* The choice nearest to a mistyped word, or an empty text. */
static void nearest_choice(const char *choices, const char *word, char *out, size_t cap)
{
    unsigned best = 3;

    out[0] = '\0';
    while (choices != NULL) {
        size_t n = strcspn(choices, "|");
        char one[32];
        if (n < sizeof(one) && n < cap) {
            memcpy(one, choices, n);
            one[n] = '\0';
            unsigned d = xs_text_distance(one, word);
            if (d < best && d < n) {
                best = d;
                memcpy(out, one, n + 1);
            }
        }
        choices = choices[n] == '|' ? choices + n + 1 : NULL;
    }
}

/* Where a value goes: a row, or the row for one device. */
struct place {
    enum xs_knob knob;
    int device; /* -1: the row itself */
};

static void put_name(struct xs_buf *b, struct place place)
{
    if (place.device < 0)
        xs_put_str(b, xs_knob_name(&xs_knob_rows[place.knob]));
    else
        xs_config_device_name(b, (unsigned)place.device, place.knob);
}

static void warn_value(struct place place, const char *text, const char *where)
{
    const struct xs_knob_row *row = &xs_knob_rows[place.knob];
    XS_BUF(name, 80);
    XS_BUF(grammar, 256);
    XS_BUF(hint, 256);
    char near[32];

    put_name(&name, place);
    xs_config_grammar(&grammar, row);
    if (row->type == XS_TYPE_CHOICE) {
        nearest_choice(xs_knob_choices(row), text, near, sizeof(near));
        if (near[0] != '\0')
            xs_fmt(&hint, "; did you mean %s?", near);
    } else if (row->type == XS_TYPE_ROUTE) {
        XS_BUF(why, 128);
        struct xs_route route;
        (void)xs_route_parse(text, xs_knob_choices(row), 0, &route, &why);
        xs_fmt(&hint, "; %s", why.at);
    }
    const char *used = place.device < 0
                           ? values[place.knob].text
                           : xs_config_device((unsigned)place.device, place.knob)->text;
    xs_config_warn("%s%s=%.64s is not understood: expected %s%s; using %s", where, name.at, text,
                   grammar.at, hint.at, used[0] != '\0' ? used : "none");
}

/* NULL: no room for one more device's. */
static struct xs_value *slot_of(struct place place)
{
    if (place.device < 0)
        return &values[place.knob];
    struct xs_device_value *own = find_device_value((unsigned)place.device, place.knob);
    if (own == NULL && device_value_count < DEVICE_VALUES_MAX) {
        own = &device_values[device_value_count++];
        *own = (struct xs_device_value){.knob = place.knob, .device = (unsigned)place.device};
    }
    return own != NULL ? &own->value : NULL;
}

static void set_value(struct place place, const char *text, enum xs_source source,
                      const char *where)
{
    const struct xs_knob_row *row = &xs_knob_rows[place.knob];
    uint64_t num = 0;

    if (text[0] == '\0' && source != XS_SOURCE_DEFAULT)
        return; /* NAME= is how a shell line says "not set" */
    if (xs_config_parse(row, text, &num) != 0) {
        warn_value(place, text, where);
        return;
    }
    const char *kept = source == XS_SOURCE_DEFAULT ? text : keep(text, strlen(text));
    struct xs_value *slot = kept != NULL ? slot_of(place) : NULL;
    if (slot == NULL) {
        xs_config_warn("%s%s: %s, not used", where, xs_knob_name(row),
                       kept == NULL ? "too long" : "too many devices' own values");
        return;
    }
    *slot = (struct xs_value){kept, num, source};
}

static void set_row(enum xs_knob knob, const char *text, enum xs_source source, const char *where)
{
    set_value((struct place){knob, -1}, text, source, where);
}

/* The row of a name without prefix, or XS_KNOB_COUNT. */
static enum xs_knob find_knob(const char *name, size_t len)
{
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const char *known = xs_knob_name(&xs_knob_rows[k]) + PREFIX_LEN;
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return (enum xs_knob)k;
    }
    return XS_KNOB_COUNT;
}

/* GPU0_CACHE_MAX and its like, of a device that there can be. */
static bool find_device_name(const char *name, size_t len, struct place *out)
{
    char plain[NAME_MAX_LEN];
    size_t digits = len > 3 ? strspn(name + 3, "0123456789") : 0;
    uint64_t device = 0;

    if (len >= sizeof(plain) || strncmp(name, "GPU", 3) != 0 || digits == 0 || digits > 3 ||
        name[3 + digits] != '_' || xs_text_count(name + 3, digits, &device) != 0 ||
        device >= DEVICES_MAX)
        return false;
    memcpy(plain, "GPU", 3);
    memcpy(plain + 3, name + 3 + digits, len - 3 - digits);
    out->knob = find_knob(plain, len - digits);
    out->device = (int)device;
    return out->knob != XS_KNOB_COUNT;
}

bool xs_config_find(const char *name, size_t len, enum xs_knob *knob, int *device)
{
    struct place place;

    if (len > PREFIX_LEN && strncmp(name, PREFIX, PREFIX_LEN) == 0) {
        name += PREFIX_LEN;
        len -= PREFIX_LEN;
    }
    place = (struct place){find_knob(name, len), -1};
    if (place.knob == XS_KNOB_COUNT && !find_device_name(name, len, &place))
        return false;
    *knob = place.knob;
    *device = place.device;
    return true;
}

/* XSIGMA_BACKEND for XSIGMA_CPU_BACKEND. */
static bool is_end_of(const char *name, size_t len, const char *known)
{
    size_t known_len = strlen(known);

    return known_len > len && known[known_len - len - 1] == '_' &&
           xs_text_same(known + known_len - len, name, len);
}

static void warn_name(const char *name, size_t len, const char *where)
{
    char full[NAME_MAX_LEN + PREFIX_LEN + 1];
    const char *near = NULL;
    unsigned best = 3;

    if (len > NAME_MAX_LEN)
        len = NAME_MAX_LEN;
    memcpy(full, PREFIX, PREFIX_LEN);
    memcpy(full + PREFIX_LEN, name, len);
    full[PREFIX_LEN + len] = '\0';
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const char *known = xs_knob_name(&xs_knob_rows[k]);
        bool is_end = is_end_of(name, len, known);
        unsigned d = is_end ? 2 : xs_text_distance(full, known);
        /* Not a word of which little is left. */
        if (d < best && (is_end || d <= len / 2)) {
            best = d;
            near = known;
        }
    }
    if (near != NULL)
        xs_config_warn("%s%s is no variable of XSigma; did you mean %s?", where, full, near);
    else
        xs_config_warn("%s%s is no variable of XSigma; XSIGMA_HELP=1 lists them", where, full);
}

/* ---- the file --------------------------------------------------------------------------- */

XS_UNLIKELY_DATA static char file_text[8192];

static char *trim(char *s)
{
    while (*s == ' ' || *s == '\t')
        s++;
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        s[--n] = '\0';
    return s;
}

/* Splits file_text in place and hands each assignment to `use`. */
static void each_line(const char *path, void (*use)(char *name, char *value, const char *where))
{
    unsigned number = 0;

    for (char *line = file_text; line != NULL;) {
        char *next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        number++;
        XS_BUF(where, 160);
        xs_fmt(&where, "%.120s:%u: ", path, number);
        char *hash = strchr(line, '#');
        if (hash != NULL)
            *hash = '\0';
        char *name = trim(line);
        if (strncmp(name, "export ", 7) == 0)
            name = trim(name + 7);
        char *equals = strchr(name, '=');
        if (equals != NULL) {
            *equals = '\0';
            use(trim(name), trim(equals + 1), where.at);
        } else if (name[0] != '\0') {
            xs_config_warn("%s\"%.40s\" is not NAME=VALUE", where.at, name);
        }
        line = next;
    }
}

static bool use_preset_only;

static void use_file_line(char *name, char *value, const char *where)
{
    bool prefixed = strncmp(name, PREFIX, PREFIX_LEN) == 0;
    const char *plain = prefixed ? name + PREFIX_LEN : name;
    struct place place = {XS_KNOB_COUNT, -1};
    bool known = xs_config_find(plain, strlen(plain), &place.knob, &place.device);

    if (use_preset_only) {
        if (place.knob == XS_KNOB_PRESET)
            set_value(place, value, XS_SOURCE_FILE, where);
        return;
    }
    if (place.knob == XS_KNOB_CONFIG)
        xs_config_warn("%sCONFIG cannot name a further file", where);
    else if (known)
        set_value(place, value, XS_SOURCE_FILE, where);
    else
        warn_name(plain, strlen(plain), where);
}

static void load_file(const char *path, bool preset_only)
{
    long n = xs_io_read_file(path, file_text, sizeof(file_text));

    if (n < 0) {
        if (!preset_only)
            xs_config_warn("XSIGMA_CONFIG=%.120s cannot be read (%s); going on without it", path,
                           strerrorname_np(errno));
        return;
    }
    if ((size_t)n == sizeof(file_text) - 1 && !preset_only)
        xs_config_warn("XSIGMA_CONFIG=%.120s is larger than 8 KiB; the rest is not read", path);
    size_t kept_warnings = warning_count;
    use_preset_only = preset_only;
    each_line(path, use_file_line);
    if (preset_only) /* the second pass says it all */
        warning_count = kept_warnings;
}

/* ---- all of it -------------------------------------------------------------------------- */

static void load_environment(void)
{
    for (char **e = xs_env_all(); *e != NULL; e++) {
        if (strncmp(*e, PREFIX, PREFIX_LEN) != 0)
            continue;
        const char *name = *e + PREFIX_LEN;
        size_t len = strcspn(name, "=");
        if (name[len] != '=')
            continue;
        struct place place;
        if (xs_config_find(name, len, &place.knob, &place.device))
            set_value(place, name + len + 1, XS_SOURCE_ENVIRONMENT, "");
        else
            warn_name(name, len, "");
    }
}

static void load_one(enum xs_knob knob)
{
    const char *text = xs_env_get(xs_knob_name(&xs_knob_rows[knob]));

    if (text != NULL)
        set_row(knob, text, XS_SOURCE_ENVIRONMENT, "");
}

static void load_preset(void)
{
    size_t count;
    XS_BUF(name, 32);

    /* The text as typed may differ in case from the table's. */
    const char *choice = xs_knob_choices(&xs_knob_rows[XS_KNOB_PRESET]);
    for (uint64_t i = values[XS_KNOB_PRESET].num; i > 0; i--)
        choice = strchr(choice, '|') + 1;
    xs_put_mem(&name, choice, strcspn(choice, "|"));
    const struct xs_preset_setting *settings = xs_preset_settings(name.at, &count);
    for (size_t i = 0; i < count; i++)
        set_row(settings[i].knob, settings[i].value, XS_SOURCE_PRESET, "");
}

/* A name that people try; mimalloc itself ignores it without a word. */
static void check_neighbours(void)
{
    if (xs_env_get("MI_SHOW_STATS") != NULL)
        xs_config_warn("MI_SHOW_STATS is not read by mimalloc (MIMALLOC_SHOW_STATS is); "
                       "XSIGMA_CPU_MIMALLOC_SHOW_STATS=1 does it");
}

void xs_config_forget(void)
{
    arena_used = 0;
    few_used = 0;
    warning_count = 0;
    device_value_count = 0;
    is_loaded = true;
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++)
        set_row((enum xs_knob)k, xs_knob_def(&xs_knob_rows[k]), XS_SOURCE_DEFAULT, "");
}

void xs_config_restore(const char *name, const char *text, const char *source)
{
    size_t kept_warnings = warning_count;
    enum xs_source from = XS_SOURCE_DEFAULT;
    struct place place;

    while (from < XS_SOURCE_ENVIRONMENT && strcmp(xs_config_source_name(from), source) != 0)
        from++;
    if (from != XS_SOURCE_DEFAULT && xs_config_find(name, strlen(name), &place.knob, &place.device))
        set_value(place, text, from, "");
    /* Whatever is wrong with it was said there. */
    warning_count = kept_warnings;
}

void xs_config_load(bool secure)
{
    xs_config_forget();
    if (secure)
        return;
    /* The preset's name and the file's come first, their values below those of the environment. */
    size_t no_warnings = warning_count;
    load_one(XS_KNOB_CONFIG);
    const char *path = values[XS_KNOB_CONFIG].text;
    if (path[0] != '\0')
        load_file(path, true);
    load_one(XS_KNOB_PRESET);
    warning_count = no_warnings;
    load_preset();
    if (path[0] != '\0')
        load_file(path, false);
    load_environment();
    check_neighbours();
}

static bool is_default(unsigned first, unsigned last)
{
    for (unsigned k = first; k <= last; k++)
        if (values[k].source != XS_SOURCE_DEFAULT)
            return false;
    return true;
}

void xs_config_small_cgroup(bool is_root)
{
    if (is_default(XS_KNOB_CPU_BACKEND, XS_KNOB_RESERVE))
        set_row(XS_KNOB_CPU_BACKEND, "system", XS_SOURCE_CGROUP, "");
    if (is_default(XS_KNOB_RECORD, XS_KNOB_RECORD_RSS))
        set_row(XS_KNOB_RECORD, "off", XS_SOURCE_CGROUP, "");
    if (!is_root && is_default(XS_KNOB_STATS, XS_KNOB_STATS_INTERVAL))
        set_row(XS_KNOB_STATS, "0", XS_SOURCE_CGROUP, "");
}

bool xs_config_is_small(void)
{
    return values[XS_KNOB_CPU_BACKEND].source == XS_SOURCE_CGROUP;
}

/* ---- the table for people --------------------------------------------------------------- */

void xs_config_print_help(void (*write_line)(const char *line, void *arg), void *arg)
{
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const struct xs_knob_row *row = &xs_knob_rows[k];
        const struct xs_value *v = &values[k];
        XS_BUF(b, 512);
        xs_fmt(&b, "%s=%s", xs_knob_name(row), v->text != NULL ? v->text : xs_knob_def(row));
        xs_put_pad(&b, 48);
        xs_fmt(&b, " (%s", v->text != NULL ? xs_config_source_name(v->source) : "default");
        if (v->source != XS_SOURCE_DEFAULT && xs_knob_def(row)[0] != '\0')
            xs_fmt(&b, ", default %s", xs_knob_def(row));
        xs_put_char(&b, ')');
        write_line(b.at, arg);
        xs_buf_clear(&b);
        xs_put_str(&b, "    ");
        xs_config_grammar(&b, row);
        write_line(b.at, arg);
        xs_buf_clear(&b);
        xs_fmt(&b, "    %s", xs_knob_help(row));
        write_line(b.at, arg);
    }
    for (size_t i = 0; i < device_value_count; i++) {
        const struct xs_device_value *own = &device_values[i];
        XS_BUF(b, 512);
        xs_config_device_name(&b, own->device, own->knob);
        xs_fmt(&b, "=%s", own->value.text);
        xs_put_pad(&b, 48);
        xs_fmt(&b, " (%s, for device %u alone)", xs_config_source_name(own->value.source),
               own->device);
        write_line(b.at, arg);
    }
}

/* '|' would end a cell of the table. */
static void put_cell(struct xs_buf *b, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|' || *text == '<' || *text == '*')
            xs_put_char(b, '\\');
        xs_put_char(b, *text);
    }
}

void xs_config_print_markdown(void (*write_line)(const char *line, void *arg), void *arg)
{
    write_line("| variable | default | values | meaning |", arg);
    write_line("| --- | --- | --- | --- |", arg);
    for (unsigned k = 0; k < XS_KNOB_COUNT; k++) {
        const struct xs_knob_row *row = &xs_knob_rows[k];
        XS_BUF(grammar, 256);
        XS_BUF(b, 1024);
        xs_config_grammar(&grammar, row);
        xs_fmt(&b, "| `%s` | ", xs_knob_name(row));
        if (xs_knob_def(row)[0] != '\0')
            xs_fmt(&b, "`%s` ", xs_knob_def(row));
        xs_put_str(&b, "| ");
        put_cell(&b, grammar.at);
        xs_put_str(&b, " | ");
        put_cell(&b, xs_knob_help(row));
        xs_put_str(&b, " |");
        write_line(b.at, arg);
    }
}
