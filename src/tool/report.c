/* The verb `report`: what a process counted, from wherever that is written down. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/config.h"
#include "sys/record.h"
#include "tool/html.h"
#include "tool/input.h"
#include "tool/profile.h"
#include "tool/settings.h"
#include "tool/symbols.h"
#include "tool/tool.h"

void xs_tool_sink(const char *text, size_t len, void *arg)
{
    (void)arg;
    fwrite(text, 1, len, stdout);
}

bool xs_tool_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < XS_COUNT_OF(names); i++) {
        const char *locale = getenv(names[i]);
        if (locale != NULL && locale[0] != '\0')
            return strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL;
    }
    return false;
}

/* ---- without an argument: what there is ---------------------------------------------------- */

struct record_line {
    struct xs_record_head head;
    bool is_alive;
};

struct list {
    struct record_line *line;
    size_t count;
    size_t room;
};

static void note_one(const struct xs_record_head *head, bool is_alive, void *arg)
{
    struct list *l = arg;

    if (l->count == l->room) {
        size_t room = l->room != 0 ? 2 * l->room : 64;
        struct record_line *line = realloc(l->line, room * sizeof(*line));
        if (line == NULL)
            return;
        l->line = line;
        l->room = room;
    }
    l->line[l->count++] = (struct record_line){*head, is_alive};
}

static int by_age(const void *a, const void *b)
{
    const struct record_line *x = a;
    const struct record_line *y = b;

    return (x->head.made > y->head.made) - (x->head.made < y->head.made);
}

/* "3 min ago", of the process's start or a little later. */
static void print_when(uint64_t made)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    uint64_t now = xs_record_now();
    uint64_t seconds = now > made ? (now - made) / (uint64_t)sysconf(_SC_CLK_TCK) : 0;
    size_t i = 0;

    while (i + 1 < XS_COUNT_OF(units) && seconds < units[i].seconds)
        i++;
    printf("begun %llu %s ago", (unsigned long long)(seconds / units[i].seconds), units[i].name);
}

static const char *how(const struct record_line *r)
{
    if (r->head.ended != 0)
        return "ended; its report could not be written";
    if (!r->is_alive)
        return "ended without a report";
    return r->head.pid_space == xs_record_pid_space() ? "running" : XS_TOOL_ELSEWHERE;
}

static void print_one(const struct record_line *r)
{
    printf("%8d  ", (int)r->head.pid);
    for (const char *c = r->head.program; *c != '\0'; c++)
        putchar(*c >= 0x20 && *c < 0x7F ? *c : '?');
    printf("  %s, ", how(r));
    print_when(r->head.made);
    putchar('\n');
}

/* The last ones stand where one looks first. */
static int list_records(void)
{
    const char *directory = xs_config(XS_KNOB_RECORD)->text;
    struct list l = {0};

    (void)xs_record_each(directory, note_one, &l);
    if (l.count != 0)
        qsort(l.line, l.count, sizeof(*l.line), by_age);
    for (size_t i = 0; i < l.count; i++)
        print_one(&l.line[i]);
    free(l.line);
    if (l.count == 0)
        xs_tool_error("no record of yours in %s; a process that reports has one while it runs, and "
                      "leaves it when it is killed",
                      directory);
    return l.count != 0 ? XS_EXIT_OK : XS_EXIT_NO;
}

/* ---- the verb ------------------------------------------------------------------------------ */

/* The exit status: that which stood already, if it was not well. */
static int save_page(struct xs_inputs *in, const char *path, int status)
{
    int rc = xs_html_save(in, path);

    if (rc == 0)
        return status;
    if (strcmp(path, "-") != 0) /* else that is said at the end */
        xs_tool_error("%s: %s", path, strerror(rc));
    return status == XS_EXIT_OK ? XS_EXIT_NO : status;
}

struct wanted {
    bool json;
    bool collapsed;
    const char *pprof; /* a file */
    const char *html;
    enum xs_profile_kind kind;
    bool any; /* something was asked for */
};

/* False, and said: there is none of this name. */
static bool set_kind(struct wanted *w, const char *text)
{
    static const char *const names[] = {"live", "peak", "total"};

    for (size_t i = 0; i < XS_COUNT_OF(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            w->kind = (enum xs_profile_kind)i;
            return true;
        }
    }
    xs_tool_error("report: --kind: '%s' is none of peak, live and total", text);
    return false;
}

static bool is_named(const char *word, size_t len, const char *name)
{
    return len == strlen(name) && strncmp(word, name, len) == 0;
}

/* False, and said: it is no option, or lacks its value. */
static bool take_option(struct wanted *w, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    size_t len = strcspn(word, "=");
    bool is_kind = is_named(word, len, "--kind");

    w->any = true;
    if (strcmp(word, "--json") == 0) {
        w->json = true;
    } else if (strcmp(word, "--collapsed") == 0) {
        w->collapsed = true;
    } else if (is_kind || is_named(word, len, "--html") || is_named(word, len, "--pprof")) {
        const char *value = xs_settings_value(argc, argv, i, len);
        if (value == NULL) {
            xs_tool_error("report: %.*s: a value is needed", (int)len, word);
            return false;
        }
        if (is_kind)
            return set_kind(w, value);
        *(is_named(word, len, "--html") ? &w->html : &w->pprof) = value;
    } else {
        (void)xs_tool_refuse("report", word, NULL);
        return false;
    }
    return true;
}

static int write_pprof(const struct xs_profile *p, const char *path)
{
    FILE *to = fopen(path, "we");

    if (to == NULL || !xs_profile_pprof(p, to) || fflush(to) != 0) {
        xs_tool_error("%s: %s", path, strerror(errno));
        if (to != NULL)
            fclose(to);
        return XS_EXIT_NO;
    }
    return fclose(to) == 0 ? XS_EXIT_OK : XS_EXIT_NO;
}

/* What was asked for. */
static int show(const struct wanted *w, const struct xs_report *r, const struct xs_profile *p)
{
    int status = XS_EXIT_OK;

    if ((w->pprof != NULL || w->collapsed) && p->view.mean_bytes == 0) {
        xs_tool_error("nothing was sampled: set XSIGMA_SAMPLE, 512K for example");
        return XS_EXIT_NO;
    }
    if (w->pprof != NULL)
        status = write_pprof(p, w->pprof);
    if (w->collapsed)
        xs_profile_collapsed(p, w->kind, stdout);
    else if (w->json)
        xs_report_json(r, xs_tool_sink, NULL);
    else if (w->pprof == NULL && w->html == NULL)
        xs_report_text(r, xs_tool_utf8(), xs_tool_sink, NULL);
    return status;
}

void xs_inputs_name_sites(struct xs_inputs *in, struct xs_profile *p)
{
    for (size_t i = 0; i < in->count; i++)
        if (!xs_profile_add(p, &in->at[i]))
            xs_tool_error("out of memory: not all sites are shown");
    xs_profile_close(p);
    const char *trouble = xs_symbols_trouble();
    if (trouble != NULL)
        xs_tool_error("note: %s", trouble);
    in->sites = p->view.mean_bytes != 0 ? &p->view : NULL;
}

int xs_tool_report(int argc, char **argv)
{
    static struct xs_profile profile;
    struct xs_inputs in = {0};
    struct wanted wanted = {.kind = XS_PROFILE_PEAK};
    bool only_words = false;
    int words = 0;
    int status = XS_EXIT_OK;

    xs_config_load(false);
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (only_words || word[0] != '-' || word[1] == '\0') {
            words++;
            int rc = xs_inputs_add(&in, word);
            status = status == XS_EXIT_OK ? rc : status;
        } else if (strcmp(word, "--") == 0) {
            only_words = true;
        } else if (!take_option(&wanted, argc, argv, &i)) {
            return XS_EXIT_USAGE;
        }
    }
    if (words == 0 && wanted.any) {
        xs_tool_error("report: of what? A file, a process or a directory is needed; "
                      "'xsigma report' alone lists the processes");
        return XS_EXIT_USAGE;
    }
    if (wanted.json && wanted.collapsed) {
        xs_tool_error("report: --json or --collapsed, not both");
        return XS_EXIT_USAGE;
    }
    if (words == 0)
        return list_records();
    const struct xs_report *r = xs_inputs_sum(&in);
    if (r == NULL)
        return status != XS_EXIT_OK ? status : XS_EXIT_NO;
    xs_input_settings(&in.at[0]);
    xs_inputs_name_sites(&in, &profile);
    if (wanted.html != NULL)
        status = save_page(&in, wanted.html, status);
    int shown = show(&wanted, xs_inputs_sum(&in), &profile);
    status = status == XS_EXIT_OK ? shown : status;
    xs_inputs_free(&in);
    return status;
}
