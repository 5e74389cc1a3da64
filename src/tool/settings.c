#include "tool/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "policy/config.h"
#include "tool/elf_file.h"
#include "tool/tool.h"

/* What is sampled of a program that `run` starts, unless told otherwise. */
#define SAMPLE_MEAN "512K"

#define LIBRARY     "libxsigma.so"
#define PREFIX      "XSIGMA_"
#define PREFIX_LEN  (sizeof(PREFIX) - 1)

/* Where `make install` puts the library. */
#ifndef XS_PREFIX
#define XS_PREFIX "/usr/local"
#endif
#define INSTALL_DIR XS_PREFIX "/lib"

static const char *short_name(const struct xs_knob_row *row)
{
    return xs_knob_name(row) + PREFIX_LEN;
}

static int refuse_name(const char *name, size_t len)
{
    struct xs_nearest nearest;
    char word[64];

    if (len > PREFIX_LEN && strncmp(name, PREFIX, PREFIX_LEN) == 0) {
        name += PREFIX_LEN;
        len -= PREFIX_LEN;
    }
    snprintf(word, sizeof(word), "%.*s", (int)(len < sizeof(word) ? len : sizeof(word) - 1), name);
    xs_nearest_init(&nearest, word);
    for (size_t i = 0; i < XS_KNOB_COUNT; i++)
        xs_nearest_try(&nearest, short_name(&xs_knob_rows[i]));
    if (nearest.best != NULL)
        xs_tool_error("--set %s: no such variable; did you mean %s?", word, nearest.best);
    else
        xs_tool_error("--set %s: no such variable; 'xsigma vars' lists them", word);
    return XS_EXIT_USAGE;
}

/* The choice that was meant, if there is one. */
static void try_choices(struct xs_nearest *nearest, const char *choices, char *mem, size_t cap)
{
    snprintf(mem, cap, "%s", choices);
    for (char *word = strtok(mem, "|"); word != NULL; word = strtok(NULL, "|"))
        xs_nearest_try(nearest, word);
}

static int refuse_value(const char *option, const struct xs_knob_row *row, const char *value)
{
    struct xs_nearest nearest;
    char words[256];
    XS_BUF(grammar, 512);

    xs_nearest_init(&nearest, value);
    if (row->type == XS_TYPE_CHOICE && xs_knob_choices(row) != NULL)
        try_choices(&nearest, xs_knob_choices(row), words, sizeof(words));
    xs_config_grammar(&grammar, row);
    if (nearest.best != NULL)
        xs_tool_error("%s: '%s' is no value of it: %s; did you mean %s?", option, value, grammar.at,
                      nearest.best);
    else
        xs_tool_error("%s: '%s' is no value of it: %s", option, value, grammar.at);
    return XS_EXIT_USAGE;
}

static int set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) == 0)
        return 0;
    xs_tool_error("%s: %s", name, strerror(errno));
    return XS_EXIT_REFUSED;
}

static int set(const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    const struct xs_knob_row *row;
    enum xs_knob knob;
    int device;
    char option[96];
    uint64_t ignored;
    XS_BUF(name, 96);

    if (equals == NULL || equals == assignment) {
        xs_tool_error("--set %s: NAME=VALUE is needed", assignment);
        return XS_EXIT_USAGE;
    }
    if (!xs_config_find(assignment, (size_t)(equals - assignment), &knob, &device))
        return refuse_name(assignment, (size_t)(equals - assignment));
    row = &xs_knob_rows[knob];
    if (device < 0)
        xs_put_str(&name, xs_knob_name(row));
    else
        xs_config_device_name(&name, (unsigned)device, knob);
    snprintf(option, sizeof(option), "--set %s", name.at + PREFIX_LEN);
    if (xs_config_parse(row, equals + 1, &ignored) != 0)
        return refuse_value(option, row, equals + 1);
    return set_variable(name.at, equals + 1);
}

static int set_preset(const char *value)
{
    const struct xs_knob_row *row = &xs_knob_rows[XS_KNOB_PRESET];
    uint64_t ignored;

    if (xs_config_parse(row, value, &ignored) != 0)
        return refuse_value("--preset", row, value);
    return set_variable(xs_knob_name(row), value);
}

static int set_sample(const char *value)
{
    const struct xs_knob_row *row = &xs_knob_rows[XS_KNOB_SAMPLE];
    uint64_t ignored;

    if (xs_config_parse(row, value, &ignored) != 0)
        return refuse_value("--sample", row, value);
    return set_variable(xs_knob_name(row), value);
}

int xs_settings_sample(void)
{
    xs_config_load(false);
    if (xs_config(XS_KNOB_SAMPLE)->source != XS_SOURCE_DEFAULT)
        return 0;
    return set_variable(xs_knob_name(&xs_knob_rows[XS_KNOB_SAMPLE]), SAMPLE_MEAN);
}

/* The program may change its directory before the report is written: make the name absolute. In
 * patterns "%%" stands for a per cent sign of the directory's name. */
int xs_settings_json(const char *file)
{
    char directory[PATH_MAX];
    char path[3 * PATH_MAX];
    size_t at = 0;
    int status;

    if (file[0] != '/' && getcwd(directory, sizeof(directory)) != NULL) {
        for (const char *c = directory; *c != '\0'; c++) {
            path[at++] = *c;
            if (*c == '%')
                path[at++] = '%';
        }
        path[at++] = '/';
    }
    if (strlen(file) >= sizeof(path) - at) {
        xs_tool_error("--json: %s", strerror(ENAMETOOLONG));
        return XS_EXIT_USAGE;
    }
    memcpy(path + at, file, strlen(file) + 1);
    status = set_variable(xs_knob_name(&xs_knob_rows[XS_KNOB_STATS_FILE]), path);
    if (status == 0)
        status = set_variable(xs_knob_name(&xs_knob_rows[XS_KNOB_STATS_FORMAT]), "json");
    return status;
}

int xs_settings_children(void)
{
    return set_variable(xs_knob_name(&xs_knob_rows[XS_KNOB_STATS_CHILDREN]), "1");
}

/* From OPTION_JSON on only where a program is run. */
enum option {
    OPTION_PRESET,
    OPTION_SET,
    OPTION_LIB,
    OPTION_JSON,
    OPTION_HTML,
    OPTION_SAMPLE,
    OPTION_CHILDREN, /* has no value */
    OPTION_COUNT
};

static const char *const option_names[OPTION_COUNT] = {
    "--preset", "--set", "--lib", "--json", "--html", "--sample", "--children"};

static int refuse_option(const struct xs_settings *s, const char *arg, bool runs)
{
    struct xs_nearest nearest;

    xs_nearest_init(&nearest, arg);
    for (size_t k = 0; k < (runs ? OPTION_COUNT : OPTION_JSON); k++)
        xs_nearest_try(&nearest, option_names[k]);
    if (nearest.best != NULL)
        xs_tool_error("%s has no option %s; did you mean %s?", s->verb, arg, nearest.best);
    else
        xs_tool_error("%s has no option %s; see 'xsigma help %s'", s->verb, arg, s->verb);
    return XS_EXIT_USAGE;
}

static int apply(struct xs_settings *s, enum option option, const char *value)
{
    switch (option) {
    case OPTION_PRESET:
        return set_preset(value);
    case OPTION_SET:
        return set(value);
    case OPTION_JSON:
        s->json = value;
        return xs_settings_json(value);
    case OPTION_HTML:
        s->html = value;
        return 0;
    case OPTION_SAMPLE:
        return set_sample(value);
    default:
        s->library_option = value;
        return 0;
    }
}

const char *xs_settings_value(int argc, char **argv, int *i, size_t len)
{
    const char *value;

    if (argv[*i][len] == '=')
        value = argv[*i] + len + 1;
    else if (*i + 1 < argc && strcmp(argv[*i + 1], "--") != 0)
        value = argv[++*i];
    else
        return NULL;
    return value[0] != '\0' ? value : NULL;
}

int xs_settings_parse(struct xs_settings *s, int argc, char **argv, bool runs)
{
    int i = 1;

    *s = (struct xs_settings){.verb = argv[0]};
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *arg = argv[i];
        const char *value = NULL;
        size_t len = strcspn(arg, "=");
        size_t option = 0;
        int status;

        if (strcmp(arg, "--") == 0) {
            i++;
            break;
        }
        while (option < OPTION_COUNT && (strlen(option_names[option]) != len ||
                                         strncmp(arg, option_names[option], len) != 0))
            option++;
        if (option == OPTION_COUNT || (option >= OPTION_JSON && !runs))
            return refuse_option(s, arg, runs);
        if (option == OPTION_CHILDREN) {
            if (arg[len] == '=')
                return refuse_option(s, arg, runs);
            s->children = true;
            continue;
        }
        value = xs_settings_value(argc, argv, &i, len);
        if (value == NULL) {
            xs_tool_error("%.*s: a value is needed", (int)len, arg);
            return XS_EXIT_USAGE;
        }
        status = apply(s, (enum option)option, value);
        if (status != 0)
            return status;
    }
    s->program = i;
    return 0;
}

/* --- the library --- */

static bool try_library(struct xs_settings *s, const char *directory, const char *below)
{
    char path[2 * PATH_MAX];

    snprintf(path, sizeof(path), "%s%s/%s", directory, below, LIBRARY);
    return realpath(path, s->library) != NULL && access(s->library, R_OK) == 0;
}

static bool search_library(struct xs_settings *s, char *why, size_t cap)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[len > 0 ? len : 0] = '\0';
    /* Without /proc, what the kernel was asked to execute. */
    const char *asked = (const char *)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)
    if (len <= 0 && (asked == NULL || realpath(asked, self) == NULL))
        self[0] = '\0';
    if (self[0] == '/') {
        *strrchr(self, '/') = '\0';
        if (try_library(s, self, "") || try_library(s, self, "/../lib"))
            return true;
    }
    if (try_library(s, INSTALL_DIR, ""))
        return true;
    snprintf(why, cap, "no %s beside this command, in ../lib or in %s; name it with --lib PATH",
             LIBRARY, INSTALL_DIR);
    return false;
}

static bool is_loadable(const char *path, char *why, size_t cap)
{
    struct xs_elf_file f = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int err = fd < 0 ? errno : xs_elf_file_read(&f, fd);

    if (fd >= 0)
        close(fd);
    if (err == ENOEXEC || err == EBADMSG)
        snprintf(why, cap, "%s is no shared library", path);
    else if (err != 0)
        snprintf(why, cap, "%s: %s", path, strerror(err));
    else if (!xs_elf_file_is_native(&f))
        snprintf(why, cap, "%s is built for another machine", path);
    else if (!f.owns_malloc)
        snprintf(why, cap, "%s has no malloc in it", path);
    else if (strpbrk(path, " :") != NULL)
        snprintf(why, cap, "%s: LD_PRELOAD cannot hold a path with a space or colon", path);
    else
        return true;
    return false;
}

int xs_settings_library(struct xs_settings *s, char *why, size_t cap)
{
    if (s->library_option != NULL && realpath(s->library_option, s->library) == NULL) {
        snprintf(why, cap, "%s: %s", s->library_option, strerror(errno));
        return XS_EXIT_REFUSED;
    }
    if (s->library_option == NULL && !search_library(s, why, cap))
        return XS_EXIT_REFUSED;
    return is_loadable(s->library, why, cap) ? 0 : XS_EXIT_REFUSED;
}

const char *xs_preload_entry(const char *list, size_t *len)
{
    list += strspn(list, " :");
    *len = strcspn(list, " :");
    return list;
}

int xs_settings_preload(const struct xs_settings *s)
{
    const char *old = getenv("LD_PRELOAD");
    size_t library_len = strlen(s->library);
    size_t len;
    char *list;
    int status;

    if (old == NULL)
        old = "";
    list = malloc(library_len + strlen(old) + 2);
    if (list == NULL) {
        xs_tool_error("LD_PRELOAD: %s", strerror(errno));
        return XS_EXIT_REFUSED;
    }
    memcpy(list, s->library, library_len + 1);
    char *at = list + library_len;
    for (const char *e = xs_preload_entry(old, &len); len > 0;
         e = xs_preload_entry(e + len, &len)) {
        if (len == library_len && strncmp(e, s->library, len) == 0)
            continue;
        *at++ = ':';
        memcpy(at, e, len);
        at += len;
        *at = '\0';
    }
    status = set_variable("LD_PRELOAD", list);
    free(list);
    return status;
}
