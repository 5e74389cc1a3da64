/* report/pages.h - where the memory came from: huge pages, nodes, what was got at start, how short
 * it ran. Context, threads: as report/report.h.
 */
#ifndef XS_REPORT_PAGES_H
#define XS_REPORT_PAGES_H

#include "core/pressure.h"
#include "core/supply.h"
#include "sys/numa.h"

struct xs_emit;

struct xs_report_pages {
    struct xs_supply_stats supply;
    struct xs_pressure_stats pressure;
    uint64_t resident_bytes; /* by the kernel's smaps_rollup; 0: it was not asked or did not say */
    uint64_t huge_bytes;     /* of them in huge pages of either kind */
    unsigned parts;
    unsigned nodes;
    uint64_t node_bytes[XS_NUMA_NODES]; /* by numa_maps; all 0 on a machine of one node */
};

/* Of JSON. */
const char *xs_report_pages_verdict(enum xs_huge_verdict verdict);

/* Asks the kernel only for what the settings make worth its while: its answer walks all pages. */
void xs_report_pages_get(struct xs_report_pages *p);

void xs_report_pages_text(struct xs_emit *e, const struct xs_report_pages *p);
void xs_report_pages_json(struct xs_emit *e, const struct xs_report_pages *p);

#endif
