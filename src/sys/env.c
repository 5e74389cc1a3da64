#include "sys/env.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* Set by the loader before it runs any code of ours; argc, argv and the environment follow. */
extern void *__libc_stack_end __attribute__((weak));

char **xs_env_all(void)
{
    static char *none[] = {NULL};

    if (environ != NULL)
        return environ;
    if (&__libc_stack_end != NULL && __libc_stack_end != NULL) {
        char **at = __libc_stack_end;
        long argc = *(long *)(void *)at;
        if (argc >= 0)
            return at + 1 + argc + 1;
    }
    return none;
}

const char *xs_env_get(const char *name)
{
    size_t len = strlen(name);

    for (char **e = xs_env_all(); *e != NULL; e++)
        if ((*e)[0] == name[0] && strncmp(*e, name, len) == 0 && (*e)[len] == '=')
            return *e + len + 1;
    return NULL;
}

bool xs_env_has(const char *prefix)
{
    size_t len = strlen(prefix);

    for (char **e = xs_env_all(); *e != NULL; e++)
        if (strncmp(*e, prefix, len) == 0)
            return true;
    return false;
}

bool xs_env_secure(void)
{
    return getauxval(AT_SECURE) != 0;
}

void xs_env_hide(const char *prefix)
{
    for (char **e = xs_env_all(); *e != NULL; e++)
        if (strncmp(*e, prefix, strlen(prefix)) == 0)
            **e = '\1';
}

void xs_env_unhide(const char *prefix)
{
    for (char **e = xs_env_all(); *e != NULL; e++)
        if (**e == '\1' && strncmp(*e + 1, prefix + 1, strlen(prefix) - 1) == 0)
            **e = prefix[0];
}
