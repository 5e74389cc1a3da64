/* backend/sampled.h - sampling in front of whatever serves, where the own core does not do it.
 * Threads: any. Context: inside malloc. Errors: as those behind it.
 */
#ifndef XS_BACKEND_SAMPLED_H
#define XS_BACKEND_SAMPLED_H

#include "backend/backend.h"

/* In front of xs_hot.beneath. */
struct xs_calls xs_sampled_calls(void);

/* Of a block that is freed past these calls. NULL allowed. */
void xs_sampled_forget(void *p);

#endif
