/* The verb `report`: what a process counted, from wherever that is written down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "sys/record.h"
#include "tool/html.h"
#include "tool/input.h"
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

struct list {
    unsigned shown;
};

static void print_one(const struct xs_record_head *head, bool is_alive, void *arg)
{
    struct list *l = arg;

    l->shown++;
    printf("%8d  ", (int)head->pid);
    for (const char *c = head->program; *c != '\0'; c++)
        putchar(*c >= 0x20 && *c < 0x7F ? *c : '?');
    printf("  %s\n", is_alive && head->ended == 0 ? "running"
                     : head->ended != 0           ? "ended; its report could not be written"
                                                  : "ended without a report");
}

static int list_records(void)
{
    const char *directory = xs_config(XS_KNOB_RECORD)->text;
    struct list l = {0};

    (void)xs_record_each(directory, print_one, &l);
    if (l.shown == 0)
        xs_tool_error("no record of yours in %s; a process that reports has one while it runs, and "
                      "leaves it when it is killed",
                      directory);
    return l.shown != 0 ? XS_EXIT_OK : XS_EXIT_NO;
}

/* ---- the verb ------------------------------------------------------------------------------ */

/* The exit status: that which stood already, if it was not well. */
static int save_page(struct xs_inputs *in, const char *path, int status)
{
    int rc = xs_html_save(in, path);

    if (rc == 0)
        return status;
    xs_tool_error("%s: %s", path, strerror(rc));
    return status == XS_EXIT_OK ? XS_EXIT_NO : status;
}

int xs_tool_report(int argc, char **argv)
{
    struct xs_inputs in = {0};
    bool json = false;
    const char *html = NULL;
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
        } else if (strcmp(word, "--json") == 0) {
            json = true;
        } else if (strcmp(word, "--html") == 0 && i + 1 < argc) {
            html = argv[++i];
        } else if (strncmp(word, "--html=", 7) == 0) {
            html = word + 7;
        } else if (strcmp(word, "--html") == 0) {
            xs_tool_error("--html: a file name is needed");
            return XS_EXIT_USAGE;
        } else {
            xs_tool_error("report: '%s' is no option; see 'xsigma help report'", word);
            return XS_EXIT_USAGE;
        }
    }
    if (words == 0)
        return list_records();
    const struct xs_report *r = xs_inputs_sum(&in);
    if (r == NULL)
        return status != XS_EXIT_OK ? status : XS_EXIT_NO;
    xs_input_settings(&in.at[0]);
    if (html != NULL)
        status = save_page(&in, html, status);
    if (json)
        xs_report_json(r, xs_tool_sink, NULL);
    else if (html == NULL)
        xs_report_text(r, xs_tool_utf8(), xs_tool_sink, NULL);
    xs_inputs_free(&in);
    return status;
}
