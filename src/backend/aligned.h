/* backend/aligned.h - every block at least xs_hot.align aligned, over xs_hot.inner.
 * See backend/backend.h for the contract of the calls.
 */
#ifndef XS_BACKEND_ALIGNED_H
#define XS_BACKEND_ALIGNED_H

#include "backend/backend.h"

struct xs_calls xs_aligned_calls(void);

#endif
