#include "backend/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

void *xs_library_open(const char *names, struct xs_buf *why)
{
    XS_BUF(name, 4096);
    XS_BUF(errors, 512);

    for (;; names++) {
        size_t length = strcspn(names, ":");
        xs_buf_clear(&name);
        xs_put_mem(&name, names, length);
        void *library = dlopen(name.at, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        if (library != NULL)
            return library;
        const char *error = dlerror();
        xs_put_str(&errors, error != NULL ? error : name.at);
        names += length;
        if (*names == '\0')
            break;
        xs_put_str(&errors, "; ");
    }
    xs_put_str(why, errors.at);
    return NULL;
}

int xs_library_symbols(void *library, const char *name, const struct xs_symbol *symbols,
                       size_t count, struct xs_buf *why)
{
    for (size_t i = 0; i < count; i++) {
        void *at = dlsym(library, symbols[i].name);
        if (at == NULL && !symbols[i].optional) {
            xs_fmt(why, "%s has no function %s", name, symbols[i].name);
            return ENOENT;
        }
        memcpy(symbols[i].to, &at, sizeof(at));
    }
    return 0;
}
