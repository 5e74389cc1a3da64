#include <errno.h>
#include <string.h>

#include "backend/hot.h"

enum { NOT_TRIED = -1 };

/* 0: open; errno: failed, with its reason. Opened in the constructor, by one thread. */
static int state[XS_OWNER_COUNT] = {NOT_TRIED, NOT_TRIED, NOT_TRIED, NOT_TRIED};
_Static_assert(XS_OWNER_COUNT == 4, "every back end starts untried");
XS_UNLIKELY_DATA static char reasons[XS_OWNER_COUNT][256];

const struct xs_backend *xs_backend_find(const char *name, size_t len)
{
    for (size_t i = 0; i < XS_OWNER_COUNT; i++)
        if (strlen(xs_backends[i]->name) == len && memcmp(xs_backends[i]->name, name, len) == 0)
            return xs_backends[i];
    return NULL;
}

int xs_backend_open(enum xs_owner owner, const struct xs_backend_options *options,
                    struct xs_buf *why)
{
    if (state[owner] == NOT_TRIED) {
        XS_BUF(reason, sizeof(reasons[owner]));
        /* It puts its functions there. */
        state[owner] = xs_hot_open() ? xs_backends[owner]->open(options, &reason) : EPERM;
        if (reason.len != 0) /* else no page need be touched */
            memcpy(reasons[owner], reason.at, reason.len + 1);
    }
    xs_put_str(why, reasons[owner]);
    return state[owner];
}

bool xs_backend_is_open(enum xs_owner owner)
{
    return state[owner] == 0;
}

void xs_backend_retire(enum xs_owner owner)
{
    state[owner] = ESHUTDOWN;
}
