/* stats/fields.h - the one list of what is counted for each back end.
 *
 * XS_COUNTER_FIELDS(X): X(name, unit, help) for every plain counter; the histogram is beside them.
 * The struct, the merge and the JSON are expansions of it, so that no field can be forgotten.
 */
#ifndef XS_STATS_FIELDS_H
#define XS_STATS_FIELDS_H

#define XS_COUNTER_FIELDS(X)                                                                       \
    X(requested_bytes, "bytes", "sum of the sizes asked for and given, reallocations included")    \
    X(frees, "calls", "frees of non-null pointers, realloc to 0 included")                         \
    X(reallocs, "calls", "reallocations of an existing block")                                     \
    X(failures, "calls", "allocations that returned NULL")                                         \
    X(realloc_failures, "calls", "reallocations that returned NULL and left the block")            \
    X(moved_in, "blocks", "blocks that realloc brought in from another back end")                  \
    X(moved_out, "blocks", "blocks that realloc took to another back end")

#endif
