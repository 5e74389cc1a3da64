#include "tool/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "/xsigma-XXXXXX"

int xs_scratch_make(char *path, size_t cap)
{
    const char *in = getenv("TMPDIR");

    if (in == NULL || in[0] != '/' || strchr(in, '%') != NULL || strlen(in) + sizeof(NAME) > cap)
        in = "/tmp";
    snprintf(path, cap, "%s" NAME, in);
    return mkdtemp(path) != NULL ? 0 : errno;
}

void xs_scratch_clear(const char *path)
{
    DIR *d = opendir(path);

    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

bool xs_scratch_is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool any = false;

    if (d == NULL)
        return true;
    for (const struct dirent *e; !any && (e = readdir(d)) != NULL;)
        any = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return !any;
}

int xs_scratch_remove(const char *path)
{
    xs_scratch_clear(path);
    return rmdir(path) == 0 ? 0 : errno;
}
