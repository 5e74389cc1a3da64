/* api.h - what a program calls. Two files define it: api_core.c calls the GPU core and tells it
 * what the shim would see go by; api_driver.c calls the driver, where a preloaded shim stands
 * before it.
 *
 * What is not here a program calls by the driver's own name. */
#ifndef XS_TESTS_PROPERTY_API_H
#define XS_TESTS_PROPERTY_API_H

#include "program.h"

void api_open(const struct program *p); /* the fake is set up, cuInit not called yet */
void api_thread_start(void);            /* in each thread, at first */
bool api_has_stats(void);               /* api_stats and the control calls do something */

/* A program is a process of its own from its start, with an environment that says its options. */
extern const bool api_is_client;
void api_environment(const struct program *p);

CUresult api_malloc(CUdeviceptr *out, size_t size);
CUresult api_malloc_pitch(CUdeviceptr *out, size_t *pitch, size_t width, size_t height);
CUresult api_malloc_managed(CUdeviceptr *out, size_t size, unsigned flags);
CUresult api_free(CUdeviceptr p);
CUresult api_free_async(CUdeviceptr p, CUstream s);
CUresult api_malloc_async(CUdeviceptr *out, size_t size, CUstream s);
CUresult api_host_alloc(void **out, size_t size, unsigned flags, bool plain);
CUresult api_host_free(void *p);
CUresult api_mem_info(size_t *free, size_t *total);
CUresult api_address_range(CUdeviceptr *base, size_t *size, CUdeviceptr p);
CUresult api_ipc_export(CUdeviceptr p, CUipcMemHandle *out);
CUresult api_sync_memops(CUdeviceptr p);
CUresult api_advise(CUdeviceptr p, size_t size);

void api_use_per_thread(void); /* the thread's own default stream comes into use */
void api_before_overlap(void); /* a launch comes that need not wait for the one before it */
CUresult api_stream_create(CUstream *out, unsigned flags);
CUresult api_stream_destroy(CUstream s);
CUresult api_retain(CUcontext *out, CUdevice device);
CUresult api_context_create(CUcontext *out, CUdevice device);
CUresult api_context_destroy(CUcontext ctx);
CUresult api_device_reset(CUdevice device);
CUresult api_context_sync(CUcontext current);
CUresult api_capture_begin(CUstream s, CUstreamCaptureMode mode);
CUresult api_capture_end(CUstream s, CUgraph *out);

void api_clear(int device);
void api_cache_limit(int device, uint64_t bytes);
void api_defragment(int device);
bool api_flush(void);
bool api_stats(unsigned device, struct xs_gpu_stats *out);

#endif
