#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/config.h"
#include "tool/html.h"
#include "tool/input.h"
#include "tool/profile.h"
#include "tool/scratch.h"
#include "tool/settings.h"
#include "tool/supervise.h"
#include "tool/target.h"
#include "tool/tool.h"

static int not_started(const char *name, int rc)
{
    xs_tool_error("%s: %s", name, strerror(rc));
    return rc == ENOENT ? XS_EXIT_NOT_FOUND : XS_EXIT_NOT_EXECUTABLE;
}

static void to_stderr(const char *text, size_t len, void *arg)
{
    (void)arg;
    fwrite(text, 1, len, stderr);
}

/* What the program left: its report, with those of its children if they wrote any, or where it did
 * not get to write one its record. */
static void show_reports(const char *directory, const struct xs_ended *e, const char *page)
{
    static struct xs_profile profile;
    struct xs_inputs in = {0};
    char report[PATH_MAX + 32];
    char number[16];
    struct stat st;

    snprintf(report, sizeof(report), "%s/%d.json", directory, (int)e->pid);
    snprintf(number, sizeof(number), "%d", (int)e->pid);
    xs_config_load(false);
    if (stat(report, &st) != 0 || st.st_size == 0)
        (void)xs_inputs_add(&in, number);
    if (!xs_scratch_is_empty(directory))
        (void)xs_inputs_add(&in, directory);
    if (in.count == 0) {
        xs_tool_error("no report of the program%s%s", page != NULL ? ", so no page in " : "",
                      page != NULL ? page : "");
        return;
    }
    xs_input_settings(&in.at[0]);
    xs_inputs_name_sites(&in, &profile);
    if (page != NULL) {
        int rc = xs_html_save(&in, page);
        if (rc != 0)
            xs_tool_error("%s: %s", page, strerror(rc));
        else if (strcmp(page, "-") != 0)
            xs_tool_error("the report is in %s", page);
    } else {
        const struct xs_report *sum = xs_inputs_sum(&in);
        if (sum == NULL)
            xs_tool_error("no report of the program: %s", strerror(ENOMEM));
        else
            xs_report_text(sum, xs_tool_utf8(), to_stderr, NULL);
    }
    xs_inputs_free(&in);
}

/* The program is a child here, as there is something to do after its end. */
static int run_and_show(const char *file, char **argv, const char *page)
{
    char directory[PATH_MAX];
    char report[PATH_MAX + 32];
    struct xs_ended ended;
    int rc = page != NULL ? xs_html_may_save(page) : 0;

    /* Said before hours of work, not after them. */
    if (rc != 0) {
        xs_tool_error("run: --html %s: %s", page, strerror(rc));
        return XS_EXIT_REFUSED;
    }
    rc = xs_scratch_make(directory, sizeof(directory));
    if (rc != 0) {
        xs_tool_error("%s: %s", directory, strerror(rc));
        return XS_EXIT_NO;
    }
    snprintf(report, sizeof(report), "%s/%%p.json", directory);
    rc = xs_settings_json(report);
    if (rc == 0) {
        rc = xs_supervise(file, argv, &ended);
        if (rc != 0)
            rc = not_started(file, rc);
    }
    if (rc == 0)
        show_reports(directory, &ended, page);
    int left = xs_scratch_remove(directory);
    if (left != 0)
        xs_tool_error("%s: %s", directory, strerror(left));
    if (rc == 0)
        xs_end_as(&ended);
    return rc;
}

/* Said before hours of work, not after them only. The program runs: it may make the directory. */
static void look_at_place(const char *file)
{
    const char *slash = strrchr(file, '/');
    char directory[PATH_MAX] = ".";

    if (slash != NULL)
        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - file + 1), file);
    if (strchr(directory, '%') == NULL && access(directory, W_OK | X_OK) != 0)
        xs_tool_error("note: --json %s: %s: as it is now, the report cannot be written there", file,
                      strerror(errno));
}

int xs_tool_run(int argc, char **argv)
{
    static struct xs_settings settings;
    static struct xs_target target;
    char why[3 * PATH_MAX];
    int status = xs_settings_parse(&settings, argc, argv, true);

    if (status != 0)
        return status;
    if (settings.program >= argc) {
        xs_tool_error("run: a program is needed; see 'xsigma help run'");
        return XS_EXIT_USAGE;
    }
    if (settings.html != NULL && settings.json != NULL) {
        xs_tool_error("run: --html or --json, not both; 'xsigma report --html' makes a page of a "
                      "JSON report");
        return XS_EXIT_USAGE;
    }
    status = xs_settings_library(&settings, why, sizeof(why));
    if (status != 0) {
        xs_tool_error("%s", why);
        return status;
    }
    argv += settings.program;
    if (settings.children && settings.json != NULL) {
        xs_tool_error(
            "run: --json writes a file for each process: --set STATS_CHILDREN=1 and %%p in "
            "its name instead of --children");
        return XS_EXIT_USAGE;
    }
    if (settings.children && (status = xs_settings_children()) != 0)
        return status;
    xs_target_find(&target, argv);
    if (target.status != 0) {
        xs_tool_error("%s", target.reason);
        return target.status;
    }
    if (target.note[0] != '\0')
        xs_tool_error("note: %s", target.note);
    xs_config_load(false);
    if (xs_target_not_reported(&target, why, sizeof(why)))
        xs_tool_error("note: %s", why);
    status = xs_settings_preload(&settings);
    if (status == 0)
        status = xs_settings_sample();
    if (status != 0)
        return status;
    if (settings.json != NULL)
        look_at_place(settings.json);
    if (settings.html != NULL || settings.children)
        return run_and_show(target.first, argv, settings.html);
    /* execvp for its shell when a script has no "#!". PATH was searched already. */
    execvp(target.first, argv);
    return not_started(target.first, errno);
}
