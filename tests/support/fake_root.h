/* A made-up /proc and /sys for sys/limits.h, in a directory of the test's own. */
#ifndef XS_TESTS_FAKE_ROOT_H
#define XS_TESTS_FAKE_ROOT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sys/limits.h"

static char fake_root[] = "/tmp/xsigma-root-XXXXXX";

static void fake_root_begin(void)
{
    cr_assert(mkdtemp(fake_root) != NULL);
    xs_limits_root = fake_root;
}

static void fake_root_end(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", fake_root);
    cr_assert_eq(system(command), 0);
}

/* A file there, with the directories above it. */
static void put(const char *path, const char *text)
{
    char full[512];

    snprintf(full, sizeof(full), "%s%s", fake_root, path);
    for (char *c = full + strlen(fake_root) + 1; *c != '\0'; c++) {
        if (*c != '/')
            continue;
        *c = '\0';
        mkdir(full, 0700);
        *c = '/';
    }
    FILE *f = fopen(full, "w");
    cr_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

#endif
