/* report/pressure.h - the lines that say that memory runs short, and who holds it.
 * Threads: any. Context: inside malloc, no lock held. Allocates: never.
 */
#ifndef XS_REPORT_PRESSURE_H
#define XS_REPORT_PRESSURE_H

#include "core/pressure.h"

/* Has core/pressure.h use them, from XSIGMA_PRESSURE_WARN. A process that another one with the
 * library started says nothing, as that one may read its stderr; XSIGMA_LOG, when set, has all of
 * them speak. */
void xs_report_pressure_start(bool is_root);

/* "the memory cgroup", "XSIGMA_MEMORY_LIMIT", "the allowed NUMA nodes", "the machine" */
const char *xs_report_pressure_of(enum xs_pressure_of of);

#endif
