/* policy/gpu_options.h - from the configuration to the options of each device.
 * Units:   as gpu/gpu.h.
 * Owns:    nothing.
 * Threads: wanted, options_of, options_limit: any. start: the constructor's.
 * Context: wanted: from the first look-up of a driver's symbol on, which may come before our own
 *          constructor (a library's constructor that uses CUDA). Allocates: never. No CUDA call.
 * Errors:  what makes no sense together is settled, with a warning from start.
 */
#ifndef XS_POLICY_GPU_OPTIONS_H
#define XS_POLICY_GPU_OPTIONS_H

#include "gpu/gpu.h"

/* Device memory goes through us: not with XSIGMA_GPU=0, XSIGMA_DISABLE=1, in a privileged program
 * or where the library stands aside in a small cgroup. The answer never changes. */
bool xs_gpu_wanted(void);

/* It does not. At start, while nothing has asked. */
void xs_gpu_decline(void);

void xs_gpu_options_of(unsigned device, struct xs_gpu_options *out);

/* A new XSIGMA_GPU_CACHE_MAX, of one device or with -1 of all, those too that are used later. */
void xs_gpu_options_limit(int device, uint64_t bytes);

/* Settles xs_gpu_wanted, and what a user should be told of the options. */
void xs_gpu_options_start(void);

#endif
