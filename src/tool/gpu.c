/* The verb `gpu`: asks and tells running processes, through the words of sys/record.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "policy/config.h"
#include "sys/record.h"
#include "tool/ask.h"
#include "tool/settings.h"
#include "tool/tool.h"

#define PATIENCE_NS 2000000000u

struct order {
    const char *name;
    enum xs_record_command command;
    uint64_t argument;
    int device;
    int pid;
};

static const struct {
    const char *name;
    enum xs_record_command command;
} orders[] = {
    {"stats", XS_RECORD_STATS},
    {"clear", XS_RECORD_CLEAR},
    {"limit", XS_RECORD_LIMIT},
    {"defragment", XS_RECORD_DEFRAGMENT},
};

static const char *directory(void)
{
    return xs_config(XS_KNOB_RECORD)->text;
}

/* What another process wrote, as a terminal may have it. */
static void print_clean(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        putchar(c == '\n' || (c >= 0x20 && c < 0x7F) ? c : '?');
    }
}

/* ---- the list --------------------------------------------------------------------------- */

static void print_process(const struct xs_record_head *head, bool is_alive, void *arg)
{
    if (!is_alive || head->uses_cuda == 0)
        return;
    (*(unsigned *)arg)++;
    printf("%d ", (int)head->pid);
    print_clean(head->program, strnlen(head->program, sizeof(head->program)));
    putchar('\n');
}

static int list(void)
{
    unsigned shown = 0;

    (void)xs_record_each(directory(), print_process, &shown);
    if (shown == 0)
        xs_tool_error("no process of yours uses CUDA under libxsigma.so");
    return XS_EXIT_OK;
}

/* ---- one request ------------------------------------------------------------------------ */

static int ask(const struct order *o, struct xs_record *r)
{
    struct xs_ask request = {o->command, o->device, o->argument, PATIENCE_NS};

    switch (xs_ask(&request, r)) {
    case XS_ASK_BUSY:
        xs_tool_error("%d is still busy with an earlier request", o->pid);
        return XS_EXIT_NO;
    case XS_ASK_UNHEARD:
        xs_tool_error("%d has not called CUDA for 2 seconds; nothing was done", o->pid);
        return XS_EXIT_NO;
    case XS_ASK_AT_IT:
        xs_tool_error("%d has taken the request and is still at it", o->pid);
        return XS_EXIT_NO;
    case XS_ASK_REFUSED:
        xs_tool_error("gpu %s: %d answers: %s", o->name, o->pid, strerror(r->result));
        return XS_EXIT_NO;
    case XS_ASK_DONE:
        break;
    }
    uint32_t len = r->text_len;
    print_clean(r->text, len < XS_RECORD_TEXT ? len : XS_RECORD_TEXT);
    return XS_EXIT_OK;
}

static const char *why_not(int error)
{
    switch (error) {
    case ENOENT:
        return "no such process of yours has used CUDA under libxsigma.so";
    case ESRCH:
        return "the process is gone";
    case EPERM:
    case EACCES:
        return "its file is not your own plain file; refused";
    case EBADMSG:
        return "its file is damaged, or another container's";
    case ENOTSUP:
        return "it runs another version of libxsigma.so";
    case EBUSY:
        return "another xsigma is asking it; try again";
    default:
        return strerror(error);
    }
}

static int send(const struct order *o)
{
    struct xs_record_file f;
    int rc = xs_record_open(&f, directory(), o->pid);

    if (rc == 0 && f.at->head.uses_cuda == 0)
        rc = ENOENT;
    if (rc != 0) {
        xs_tool_error("%d: %s", o->pid, why_not(rc));
        return XS_EXIT_NO;
    }
    return ask(o, f.at);
}

/* ---- the command line ------------------------------------------------------------------- */

static int unknown(const char *name)
{
    struct xs_nearest nearest;

    xs_nearest_init(&nearest, name);
    for (size_t i = 0; i < XS_COUNT_OF(orders); i++)
        xs_nearest_try(&nearest, orders[i].name);
    if (nearest.best != NULL)
        xs_tool_error("gpu has no '%s'; did you mean '%s'?", name, nearest.best);
    else
        xs_tool_error("gpu has no '%s'; see 'xsigma help gpu'", name);
    return XS_EXIT_USAGE;
}

static bool number(const char *text, uint64_t most, int *out)
{
    uint64_t n;

    if (xs_text_count(text, strlen(text), &n) != 0 || n > most)
        return false;
    *out = (int)n;
    return true;
}

/* "limit 64M --device 1 4242", the option anywhere after the order. */
static int parse(struct order *o, int argc, char **argv)
{
    const char *words[2] = {NULL, NULL}; /* [SIZE] PID */
    size_t wanted = o->command == XS_RECORD_LIMIT ? 2 : 1;
    size_t n = 0;

    for (int i = 2; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        if (len == 8 && strncmp(argv[i], "--device", len) == 0) {
            const char *value = xs_settings_value(argc, argv, &i, len);
            if (value == NULL || !number(value, 63, &o->device)) {
                xs_tool_error("gpu %s: --device '%s' is no number of a device", o->name,
                              value != NULL ? value : "");
                return XS_EXIT_USAGE;
            }
        } else if (argv[i][0] == '-' || n == wanted) {
            return xs_tool_refuse("gpu", argv[i], NULL);
        } else {
            words[n++] = argv[i];
        }
    }
    if (o->command == XS_RECORD_LIMIT &&
        (n == 0 || xs_text_size(words[0], strlen(words[0]), &o->argument) != 0)) {
        xs_tool_error("gpu limit: '%s' is no size such as 64M or 1.5G", n == 0 ? "" : words[0]);
        return XS_EXIT_USAGE;
    }
    if (n < wanted) {
        xs_tool_error("gpu %s: the number of a process is needed; these use CUDA:", o->name);
        (void)list();
        return XS_EXIT_USAGE;
    }
    if (!number(words[wanted - 1], INT_MAX, &o->pid) || o->pid == 0) {
        xs_tool_error("gpu %s: '%s' is no number of a process", o->name, words[wanted - 1]);
        return XS_EXIT_USAGE;
    }
    return 0;
}

int xs_tool_gpu(int argc, char **argv)
{
    struct order o = {.device = -1};
    int status;

    xs_config_load(false);
    if (argc < 2 || strcmp(argv[1], "list") == 0)
        return list();
    for (size_t i = 0; i < XS_COUNT_OF(orders); i++) {
        if (strcmp(orders[i].name, argv[1]) == 0) {
            o.name = orders[i].name;
            o.command = orders[i].command;
        }
    }
    if (o.name == NULL)
        return unknown(argv[1]);
    status = parse(&o, argc, argv);
    return status != 0 ? status : send(&o);
}
