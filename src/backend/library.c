#include "backend/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

void *xs_library_open(const char *name, struct xs_buf *why)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (library == NULL) {
        const char *error = dlerror();
        xs_put_str(why, error != NULL ? error : name);
    }
    return library;
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
