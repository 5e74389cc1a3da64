#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool/settings.h"
#include "tool/target.h"
#include "tool/tool.h"

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
    status = xs_settings_library(&settings, why, sizeof(why));
    if (status != 0) {
        xs_tool_error("%s", why);
        return status;
    }
    argv += settings.program;
    xs_target_find(&target, argv);
    if (target.status != 0) {
        xs_tool_error("%s", target.reason);
        return target.status;
    }
    if (target.note[0] != '\0')
        xs_tool_error("note: %s", target.note);
    status = xs_settings_preload(&settings);
    if (status != 0)
        return status;
    /* execvp for its shell when a script has no "#!". PATH was searched already. */
    execvp(target.first, argv);
    status = errno == ENOENT ? XS_EXIT_NOT_FOUND : XS_EXIT_NOT_EXECUTABLE;
    xs_tool_error("%s: %s", target.first, strerror(errno));
    return status;
}
