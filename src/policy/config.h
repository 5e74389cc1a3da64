/* policy/config.h - the values of all XSIGMA_* variables, and where each came from.
 * Units:   as each row of policy/knobs.h says; sizes in bytes.
 * Owns:    copies of the texts; the environment may change afterwards.
 * Threads: read-only after xs_config_load, which runs once: in the constructor, or before it when a
 *          library's constructor looks for CUDA.
 * Context: before main. Allocates: never.
 * Errors:  a bad value keeps the value of the next lower source and leaves one warning.
 */
#ifndef XS_POLICY_CONFIG_H
#define XS_POLICY_CONFIG_H

#include "base/compiler.h"
#include "base/fmt.h"
#include "policy/knobs.h"

/* In order of precedence, lowest first. */
enum xs_source {
    XS_SOURCE_DEFAULT,
    XS_SOURCE_CGROUP, /* that is small */
    XS_SOURCE_PRESET,
    XS_SOURCE_FILE, /* XSIGMA_CONFIG */
    XS_SOURCE_ENVIRONMENT
};

enum xs_knob {
#define X(type, id, name, def, min, max, choices, flags, help) XS_KNOB_##id,
    XS_KNOBS(X)
#undef X
        XS_KNOB_COUNT
};

enum xs_knob_type {
    XS_TYPE_BOOL,    /* 1/0 on/off true/false yes/no; num is 0 or 1 */
    XS_TYPE_CHOICE,  /* num is the index into choices */
    XS_TYPE_SIZE,    /* num in bytes */
    XS_TYPE_COUNT,   /* num */
    XS_TYPE_TIME,    /* num in nanoseconds */
    XS_TYPE_FACTOR,  /* num in thousandths */
    XS_TYPE_PERCENT, /* num, "90%" or 90; 0 to 100 */
    XS_TYPE_NODES, /* num is the index into choices, whose words may end in ":" and a list of nodes
                    */
    XS_TYPE_TEXT,  /* text */
    XS_TYPE_ROUTE  /* text, parsed by policy/route.h */
};

enum xs_knob_flags {
    XS_KNOB_POW2 = 1, /* a size that must be a power of two */
};

/* Texts lie by their places, not by pointers, which the loader would have to write. */
struct xs_knob_row {
    uint64_t min;
    uint64_t max;
    enum xs_knob_type type;
    unsigned flags;
    uint16_t name;
    uint16_t def;
    uint16_t choices;
    uint16_t help;
};
struct xs_value {
    const char *text; /* as written; for ROUTE and TEXT the value itself; never NULL */
    uint64_t num;
    enum xs_source source;
};

extern const struct xs_knob_row xs_knob_rows[XS_KNOB_COUNT];
const char *xs_knob_name(const struct xs_knob_row *row); /* with the XSIGMA_ prefix */
const char *xs_knob_def(const struct xs_knob_row *row);
/* "auto|0|1"; for SIZE, words that stand for values; for ROUTE, names. NULL: there are none. */
const char *xs_knob_choices(const struct xs_knob_row *row);
const char *xs_knob_help(const struct xs_knob_row *row);

/* Reads environment, file, preset, defaults. Nothing is read when `secure` (AT_SECURE). */
void xs_config_load(bool secure);

/* In a memory cgroup so small that the own core would take a part of it that counts: the C
 * library's malloc, unless anything is set of what serves; no record, and no counts where nobody is
 * to be told, unless they are asked for. */
#define XS_CONFIG_SMALL_CGROUP XS_MIB(8)
void xs_config_small_cgroup(bool is_root);
bool xs_config_is_small(void); /* the C library's malloc serves for that */

bool xs_config_is_loaded(void);

/* For another process's report: the defaults and no warnings, then its values one by one. What is
 * no variable here, or no value, is left out. */
void xs_config_forget(void);
void xs_config_restore(const char *name, const char *text, const char *source);

const struct xs_value *xs_config(enum xs_knob knob);

/* The list of nodes in a NODES value as bits; 0 where it has none. */
uint64_t xs_config_nodes(enum xs_knob knob);

/* XSIGMA_GPU1_CACHE_MAX: a GPU row for one device. It wins over the row for all of them, wherever
 * that was set; of two for the same device the environment's wins. */
struct xs_device_value {
    enum xs_knob knob;
    unsigned device;
    struct xs_value value;
};
const struct xs_value *xs_config_device(unsigned device, enum xs_knob knob);
const struct xs_device_value *xs_config_device_value(size_t i); /* NULL past the end */
void xs_config_device_name(struct xs_buf *b, unsigned device, enum xs_knob knob);

/* The row that a name stands for, with or without prefix; *device is -1 unless it names one. */
bool xs_config_find(const char *name, size_t len, enum xs_knob *knob, int *device);
const char *
xs_config_source_name(enum xs_source source); /* "default" "cgroup" "preset" "file" "env" */

/* Warnings of the load, one line each without newline, at most 32 kept; NULL past the end. */
const char *xs_config_warning(size_t i);
void xs_config_warn(const char *format, ...) XS_FORMAT(1, 2);

/* The grammar of a row's values, as its error message and the help print it. */
void xs_config_grammar(struct xs_buf *b, const struct xs_knob_row *row);

/* Parses one value by its row; 0, or EINVAL/ERANGE with *out untouched. */
int xs_config_parse(const struct xs_knob_row *row, const char *text, uint64_t *out);

/* The table of all variables, for XSIGMA_HELP=1 (with current values) and for the README. */
void xs_config_print_help(void (*write_line)(const char *line, void *arg), void *arg);
void xs_config_print_markdown(void (*write_line)(const char *line, void *arg), void *arg);

#endif
