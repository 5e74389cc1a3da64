/* policy/route.h - "<=64K:mimalloc,<=1M:tbb,*:system" as a list of bounds.
 * Units:   bytes. Owns: nothing. Threads: any. Context: before main. Allocates: never.
 * Errors:  EINVAL with what is wrong in *why.
 */
#ifndef XS_POLICY_ROUTE_H
#define XS_POLICY_ROUTE_H

#include "base/fmt.h"

#define XS_ROUTE_MAX 8

struct xs_route_step {
    size_t last; /* the largest size that goes here */
    int choice;  /* index into the choices */
};

struct xs_route {
    size_t count;
    struct xs_route_step step[XS_ROUTE_MAX];
};

#define XS_ROUTE_GRAMMAR                                                                           \
    "SIZE rules in rising order and * last, e.g. <=64K:mimalloc,<1M:tbb,*:system"

#define XS_ROUTE_GPU_GRAMMAR                                                                       \
    "SIZE rules in rising order and * last, e.g. <64K:caching,<=64M:pool,*:direct"

/* `choices` are the back ends' names with '|' between them. Without a final "*:" rule, one for
 * `otherwise` is added. */
int xs_route_parse(const char *text, const char *choices, int otherwise, struct xs_route *out,
                   struct xs_buf *why);

#endif
