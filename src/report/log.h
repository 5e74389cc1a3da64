/* report/log.h - one-line messages to the user: "xsigma[pid]: ...".
 * Where to: XSIGMA_LOG; the first process of the tree only, unless `always`.
 * Threads: any. Context: anywhere. Allocates: never. Errors: a line that cannot be written is lost.
 */
#ifndef XS_REPORT_LOG_H
#define XS_REPORT_LOG_H

#include "base/compiler.h"

void xs_log(const char *format, ...) XS_FORMAT(1, 2);

#endif
