/* What the shim tells the core of contexts, streams, captures and memory, and in which order. The
 * driver here is a set of functions that answer what a test wants; the core writes down its calls.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cuda_shim/shim.h"
#include "gpu/gpu.h"
#include "gpu/passed.h"

static char told[1000]; /* the calls of core and driver since the last look, by letters and words */
static CUresult answer;
static CUcontext current, made;

static void tell(const char *format, ...)
{
    size_t n = strlen(told);
    va_list args;

    va_start(args, format);
    vsnprintf(told + n, sizeof told - n, format, args);
    va_end(args);
}

#define EXPECT(text)                                                                               \
    do {                                                                                           \
        cr_assert(strcmp(told, text) == 0, "'%s' instead of '%s'", told, text);                    \
        told[0] = 0;                                                                               \
    } while (0)

/* ---- the core --------------------------------------------------------------------------- */

#define WRAP(type, name, parameters, ...)                                                          \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        tell(__VA_ARGS__);

static int flush_helps; /* so many times */
WRAP(void, xs_gpu_before_stream, (void), "before_stream ")
}
WRAP(void, xs_gpu_before_overlap, (void), "overlap ")
}
WRAP(void, xs_gpu_after_launch, (void), "launched ")
}
WRAP(void, xs_gpu_after_copy, (void), "copied ")
}
WRAP(void, xs_gpu_after_host_call, (void), "called ")
}
WRAP(void, xs_gpu_after_register, (void), "registered ")
}
WRAP(void, xs_gpu_after_stream, (CUstream s, unsigned f), "after_stream:%lx:%u ", (long)s, f)
}
WRAP(void, xs_gpu_no_stream, (void), "no_stream ")
}
WRAP(void, xs_gpu_stream_gone, (CUstream s), "gone:%lx ", (long)s)
}
WRAP(void, xs_gpu_after_context, (CUcontext c), "after_context:%lx ", (long)c)
}
WRAP(void, xs_gpu_context_gone, (CUcontext c), "context_gone:%lx ", (long)c)
}
WRAP(void, xs_gpu_device_reset, (CUdevice d), "reset:%d ", d)
}
WRAP(void, xs_gpu_capture_begun, (void), "begun ")
}
WRAP(void, xs_gpu_capture_ended, (void), "ended ")
}
WRAP(void, xs_gpu_sync_failed, (void), "sync_failed ")
}
WRAP(uint64_t, xs_gpu_before_sync, (void), "before_sync ") return 7;
}
WRAP(void, xs_gpu_after_sync, (CUcontext c, uint64_t e), "after_sync:%lx:%lu ", (long)c, e)
}
WRAP(bool, xs_gpu_flush_here, (void), "flush ") return flush_helps-- > 0;
}
WRAP(bool, xs_gpu_flush_of, (CUdevice d), "flush:%d ", d) return flush_helps-- > 0;
}
WRAP(bool, xs_gpu_flush_any, (void), "flush_any ") return flush_helps-- > 0;
}
WRAP(void, xs_gpu_passed_through, (enum xs_gpu_pass k, int d, uint64_t key, size_t n),
     "passed:%u:%d:%zu ", k, d, n)
(void)key;
}
WRAP(void, xs_gpu_never_reuse, (CUdeviceptr p), "never:%llx ", p)
}

/* ---- the driver ------------------------------------------------------------------------- */

static CUresult give(CUcontext *out)
{
    tell("driver ");
    *out = made;
    return answer;
}
static CUresult give_stream(CUstream *out)
{
    tell("driver ");
    *out = (CUstream)0x55;
    return answer;
}
static CUresult plain(void)
{
    tell("driver ");
    return answer;
}
static unsigned failures; /* that many times out of memory first */
static CUresult allocate(void)
{
    tell("driver ");
    if (failures == 0)
        return answer;
    failures--;
    return CUDA_ERROR_OUT_OF_MEMORY;
}
static CUresult get_current(CUcontext *out)
{
    *out = current;
    return CUDA_SUCCESS;
}

#define DRIVER(symbol, function) xs_shim_real[XS_HOOK_##symbol] = (void *)(uintptr_t)function

static void start(void)
{
    for (unsigned i = 0; i < XS_HOOK_COUNT; i++)
        xs_shim_real[i] = (void *)(uintptr_t)plain;
    xs_cu.cuCtxGetCurrent = get_current;
    answer = CUDA_SUCCESS;
    current = made = (CUcontext)0xC1;
}

TestSuite(cuda_streams, .init = start);

Test(cuda_streams, each_stream_is_told_before_it_is_made)
{
    CUstream s;
    DRIVER(cuStreamCreate, give_stream);
    DRIVER(cuStreamCreateWithPriority, give_stream);
    DRIVER(cuGreenCtxStreamCreate, give_stream);
    cr_assert(xs_do_cuStreamCreate(&s, 1) == 0);
    EXPECT("before_stream driver after_stream:55:1 ");
    cr_assert(xs_do_cuStreamCreateWithPriority(&s, 0, -1) == 0);
    EXPECT("before_stream driver after_stream:55:0 ");
    DRIVER(cuCtxFromGreenCtx, give);
    cr_assert(xs_do_cuGreenCtxStreamCreate(&s, (CUgreenCtx)0x90, 1, 0) == 0);
    EXPECT("before_stream driver driver after_context:c1 after_stream:55:1 ");
    cr_assert(xs_do_cuGreenCtxStreamCreate(&s, (CUgreenCtx)0x90, 1, 0) == 0);
    EXPECT("before_stream driver driver after_stream:55:1 ");
    answer = 1;
    cr_assert(xs_do_cuStreamCreate(&s, 1) == 1);
    EXPECT("before_stream driver no_stream ");
    cr_assert(xs_do_cuGreenCtxStreamCreate(&s, (CUgreenCtx)0x91, 1, 0) == 1);
    EXPECT("before_stream driver no_stream ");
    answer = 0;
    xs_do_cuStreamDestroy_v2(s);
    EXPECT("gone:55 driver ");
    xs_do_cuStreamDestroy(s);
    EXPECT("gone:55 driver ");
    xs_do_cuStreamDestroy_v2(NULL);
    EXPECT("driver ");
}

Test(cuda_streams, per_thread_handles_are_seen_by_the_functions_too)
{
    CUdeviceptr p;
    xs_do_cuMemAllocAsync(&p, 5, NULL);
    EXPECT("driver passed:0:-1:5 ");
    xs_do_cuMemAllocAsync(&p, 5, CU_STREAM_PER_THREAD);
    EXPECT("before_stream driver passed:0:-1:5 ");
    xs_shim_stream_noted = false;
    xs_do_cuMemAllocFromPoolAsync(&p, 5, NULL, CU_STREAM_PER_THREAD);
    EXPECT("before_stream driver passed:0:-1:5 ");
    xs_shim_stream_noted = false;
    xs_do_cuMemAllocAsync_ptsz(&p, 5, NULL);
    EXPECT("before_stream driver passed:0:-1:5 ");
    xs_shim_stream_noted = false;
    xs_do_cuMemAllocFromPoolAsync_ptsz(&p, 5, NULL, NULL);
    EXPECT("before_stream driver passed:0:-1:5 ");
    xs_shim_stream_noted = false;
    xs_do_cuStreamAttachMemAsync(CU_STREAM_PER_THREAD, 0x10, 0, 4);
    EXPECT("before_stream never:10 driver ");
    xs_shim_stream_noted = false;
    xs_do_cuStreamAttachMemAsync_ptsz(NULL, 0x10, 0, 4);
    EXPECT("before_stream never:10 driver ");
}

Test(cuda_streams, captures_are_counted_by_pairs)
{
    CUstream s = (CUstream)0x70, t = (CUstream)0x80;
    CUgraph g;
    xs_do_cuStreamBeginCapture_v2(s, 0);
    EXPECT("begun driver ");
    xs_do_cuStreamBeginCaptureToGraph(t, NULL, NULL, NULL, 0, 0);
    EXPECT("begun driver ");
    answer = CUDA_ERROR_ILLEGAL_STATE; /* begun twice */
    xs_do_cuStreamBeginCapture_v2(s, 0);
    EXPECT("begun driver ended ");
    answer = CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    xs_do_cuStreamEndCapture(s, &g);
    EXPECT("driver ");
    answer = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; /* that ends it */
    xs_do_cuStreamEndCapture(s, &g);
    EXPECT("driver ended ");
    answer = CUDA_SUCCESS;
    xs_do_cuStreamEndCapture(s, &g); /* not begun */
    EXPECT("driver ");
    answer = CUDA_ERROR_INVALID_VALUE;
    xs_do_cuStreamEndCapture(t, NULL);
    EXPECT("driver ");
    answer = CUDA_ERROR_ILLEGAL_STATE; /* the driver knows of none */
    xs_do_cuStreamEndCapture(t, &g);
    EXPECT("driver ended ");
}

Test(cuda_streams, captures_of_younger_ways)
{
    CUstream s = (CUstream)0x70;
    CUgraph g;
    xs_do_cuStreamBeginRecaptureToGraph(s, 0, NULL, NULL, NULL);
    EXPECT("begun driver ");
    xs_do_cuStreamEndCapture(s, &g);
    EXPECT("driver ended ");
    xs_do_cuStreamBeginCaptureToCig(s, NULL);
    EXPECT("begun driver ");
    xs_do_cuStreamEndCaptureToCig(s);
    EXPECT("driver ended ");
    xs_do_cuStreamBeginRecaptureToGraph_ptsz(NULL, 0, NULL, NULL, NULL);
    xs_do_cuStreamBeginCaptureToCig_ptsz(NULL, NULL);
    EXPECT("begun driver begun driver ");
    xs_do_cuStreamEndCaptureToCig_ptsz(NULL);
    xs_do_cuStreamEndCapture_ptsz(NULL, &g);
    EXPECT("driver ended driver ended ");
}

/* Its driver knows of none; and what the core was told of them it has forgotten itself. */
Test(cuda_streams, a_child_has_none_of_its_parents_captures)
{
    CUgraph g;
    xs_do_cuStreamBeginCapture_v2((CUstream)0x70, 0);
    EXPECT("begun driver ");
    xs_shim_streams_forked();
    answer = CUDA_ERROR_NOT_INITIALIZED;
    xs_do_cuStreamEndCapture((CUstream)0x70, &g);
    EXPECT("driver ");
}

Test(cuda_streams, captures_of_the_threads_own_stream)
{
    CUgraph g;
    xs_do_cuStreamBeginCapture_v2_ptsz(NULL, 0);
    EXPECT("begun driver ");
    xs_do_cuStreamEndCapture((CUstream)0x70, &g);
    EXPECT("driver ");
    xs_do_cuStreamEndCapture_ptsz(NULL, &g);
    EXPECT("driver ended ");
    xs_do_cuStreamBeginCapture(NULL), xs_do_cuStreamBeginCapture_ptsz(CU_STREAM_PER_THREAD);
    EXPECT("begun driver begun driver ");
}

Test(cuda_streams, captures_end_with_their_stream_and_context)
{
    xs_do_cuStreamBeginCapture_v2((CUstream)0x70, 0);
    xs_do_cuStreamBeginCapture_v2((CUstream)0x80, 0);
    told[0] = 0;
    xs_do_cuStreamDestroy_v2((CUstream)0x70);
    EXPECT("ended gone:70 driver ");
    xs_do_cuCtxDestroy_v2((CUcontext)0xC2);
    EXPECT("context_gone:c2 driver ");
    xs_do_cuCtxDestroy_v2(current);
    EXPECT("ended context_gone:c1 driver ");
}

Test(cuda_streams, more_captures_than_are_remembered)
{
    CUgraph g;
    unsigned ends = 0;
    for (uintptr_t i = 0; i < 100; i++)
        xs_do_cuStreamBeginCapture_v2((CUstream)(0x1000 + i), 0);
    for (uintptr_t i = 0; i < 100; i++) {
        told[0] = 0;
        xs_do_cuStreamEndCapture((CUstream)(0x1000 + i), &g);
        ends += strstr(told, "ended") != NULL;
    }
    cr_assert(ends == 100);
    told[0] = 0;
    xs_do_cuStreamEndCapture((CUstream)0x1000, &g);
    EXPECT("driver ");
}

Test(cuda_streams, contexts)
{
    CUcontext c;
    DRIVER(cuCtxCreate_v2, give);
    cr_assert(xs_do_cuCtxCreate_v2(&c, 0, 0) == 0 && c == made);
    EXPECT("driver after_context:c1 ");
    answer = 1;
    cr_assert(xs_do_cuCtxCreate_v2(&c, 0, 0) == 1);
    EXPECT("driver ");
    answer = CUDA_ERROR_OUT_OF_MEMORY; /* what is kept of that device goes first */
    flush_helps = 2;
    cr_assert(xs_do_cuCtxCreate_v2(&c, 0, 3) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT("driver flush:3 driver flush:3 driver flush:3 ");
    DRIVER(cuDevicePrimaryCtxRetain, give);
    flush_helps = 0;
    cr_assert(xs_do_cuDevicePrimaryCtxRetain(&c, 4) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT("driver flush:4 ");
    xs_do_cuCtxDestroy(NULL);
    EXPECT("driver ");
    xs_do_cuCtxDetach((CUcontext)0xC3);
    EXPECT("context_gone:c3 driver ");
}

Test(cuda_streams, contexts_for_graphics)
{
    CUcontext c;
    DRIVER(cuGLCtxCreate, give);
    DRIVER(cuGLCtxCreate_v2, give);
    DRIVER(cuVDPAUCtxCreate, give);
    DRIVER(cuVDPAUCtxCreate_v2, give);
    xs_do_cuGLCtxCreate(&c, 0, 0), xs_do_cuGLCtxCreate_v2(&c, 0, 0);
    EXPECT("driver after_context:c1 driver after_context:c1 ");
    xs_do_cuVDPAUCtxCreate(&c, 0, 0, 1, NULL), xs_do_cuVDPAUCtxCreate_v2(&c, 0, 0, 1, NULL);
    EXPECT("driver after_context:c1 driver after_context:c1 ");
}

Test(cuda_streams, a_primary_context_is_new_once)
{
    CUcontext c;
    DRIVER(cuDevicePrimaryCtxRetain, give);
    xs_do_cuDevicePrimaryCtxRetain(&c, 0);
    EXPECT("driver after_context:c1 ");
    xs_do_cuDevicePrimaryCtxRetain(&c, 0);
    EXPECT("driver ");
    made = (CUcontext)0xC2;
    xs_do_cuDevicePrimaryCtxRetain(&c, 1);
    EXPECT("driver after_context:c2 ");
    made = (CUcontext)0xC1;
    xs_do_cuDevicePrimaryCtxRelease_v2(0); /* one is left */
    EXPECT("driver ");
    xs_do_cuDevicePrimaryCtxRelease_v2(0);
    EXPECT("reset:0 driver ");
    xs_do_cuDevicePrimaryCtxRelease_v2(0); /* too often */
    EXPECT("driver ");
    xs_do_cuDevicePrimaryCtxRetain(&c, 0);
    EXPECT("driver after_context:c1 ");
    xs_do_cuDevicePrimaryCtxReset_v2(0);
    EXPECT("reset:0 driver ");
    xs_do_cuDevicePrimaryCtxRetain(&c, 0);
    EXPECT("driver after_context:c1 ");
    xs_do_cuDevicePrimaryCtxReset(-1);
    xs_do_cuDevicePrimaryCtxRelease(4711);
    EXPECT("driver driver ");
}

Test(cuda_streams, green_contexts)
{
    CUcontext c;
    CUgreenCtx g = (CUgreenCtx)0x90;
    DRIVER(cuCtxFromGreenCtx, give);
    xs_do_cuCtxFromGreenCtx(&c, g);
    EXPECT("driver after_context:c1 ");
    xs_do_cuCtxFromGreenCtx(&c, g);
    EXPECT("driver ");
    xs_do_cuGreenCtxDestroy((CUgreenCtx)0x91);
    EXPECT("driver ");
    xs_do_cuGreenCtxDestroy(g);
    EXPECT("context_gone:c1 driver ");
    xs_do_cuGreenCtxDestroy(g);
    EXPECT("driver ");
}

Test(cuda_streams, waits_for_a_context)
{
    xs_do_cuCtxSynchronize();
    EXPECT("before_sync driver after_sync:c1:7 ");
    xs_do_cuCtxSynchronize_v2((CUcontext)0xC9);
    EXPECT("before_sync driver after_sync:c9:7 ");
    xs_do_cuCtxSynchronize_v2(NULL);
    EXPECT("before_sync driver after_sync:c1:7 ");
    answer = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    xs_do_cuCtxSynchronize();
    EXPECT("before_sync driver sync_failed ");
    xs_do_cuCtxSynchronize_v2(NULL);
    EXPECT("before_sync driver sync_failed ");
    answer = CUDA_SUCCESS;
    current = NULL;
    xs_do_cuCtxSynchronize();
    EXPECT("before_sync driver ");
}

Test(cuda_streams, memory_out_is_tried_again_after_a_flush)
{
    CUdeviceptr p;
    CUmemGenericAllocationHandle h;
    CUarray a;
    CUmipmappedArray m;
    CUmodule module;
    CUlibrary library;
    CUgraphExec exec;
    CUfunction function;
    DRIVER(cuMemCreate, allocate);
    DRIVER(cuMemAllocAsync, allocate);
    DRIVER(cuMemAllocFromPoolAsync, allocate);
    DRIVER(cuArrayCreate_v2, allocate);
    DRIVER(cuArray3DCreate_v2, allocate);
    DRIVER(cuMipmappedArrayCreate, allocate);
    DRIVER(cuMemHostRegister_v2, allocate);
#define TRY(call, counted)                                                                         \
    failures = flush_helps = 1;                                                                    \
    cr_assert(call == 0);                                                                          \
    EXPECT("driver flush " counted)
#define TRY_ANY(call, counted)                                                                     \
    failures = flush_helps = 1;                                                                    \
    cr_assert(call == 0);                                                                          \
    EXPECT("driver flush_any " counted)
    TRY(xs_do_cuMemCreate(&h, 9, NULL, 0), "driver passed:1:-1:9 ");
    CUmemAllocationProp prop = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 1}};
    failures = flush_helps = 1;
    cr_assert(xs_do_cuMemCreate(&h, 9, &prop, 0) == 0);
    EXPECT("driver flush:1 driver passed:1:1:9 ");
    prop.location.type = CU_MEM_LOCATION_TYPE_HOST;
    TRY(xs_do_cuMemCreate(&h, 9, &prop, 0), "driver passed:1:-1:9 ");
    TRY(xs_do_cuMemAllocAsync(&p, 9, NULL), "driver passed:0:-1:9 ");
    TRY_ANY(xs_do_cuMemAllocFromPoolAsync(&p, 9, NULL, NULL), "driver passed:0:-1:9 ");
    TRY(xs_do_cuArrayCreate_v2(&a, NULL), "driver passed:2:-1:0 ");
    TRY(xs_do_cuArray3DCreate_v2(&a, NULL), "driver passed:2:-1:0 ");
    TRY(xs_do_cuMipmappedArrayCreate(&m, NULL, 1), "driver passed:2:-1:0 ");
    TRY(xs_do_cuMemHostRegister_v2(&p, 9, 0), "driver registered ");
    DRIVER(cuModuleLoad, allocate);
    DRIVER(cuModuleLoadData, allocate);
    DRIVER(cuModuleLoadDataEx, allocate);
    DRIVER(cuModuleLoadFatBinary, allocate);
    DRIVER(cuLibraryLoadData, allocate);
    DRIVER(cuLibraryLoadFromFile, allocate);
    DRIVER(cuGraphInstantiate, allocate);
    DRIVER(cuGraphInstantiate_v2, allocate);
    DRIVER(cuGraphExecUpdate, allocate);
    DRIVER(cuGraphExecUpdate_v2, allocate);
    DRIVER(cuGraphAddMemAllocNode, allocate);
    DRIVER(cuGraphAddNode, allocate);
    DRIVER(cuGraphAddNode_v2, allocate);
    DRIVER(cuGraphInstantiateWithFlags, allocate);
    DRIVER(cuGraphInstantiateWithParams, allocate);
    DRIVER(cuGraphInstantiateWithParams_ptsz, allocate);
    DRIVER(cuCtxSetLimit, allocate);
    TRY(xs_do_cuModuleLoad(&module, ""), "driver ");
    TRY(xs_do_cuModuleLoadData(&module, ""), "driver ");
    TRY(xs_do_cuModuleLoadDataEx(&module, "", 0, NULL, NULL), "driver ");
    TRY(xs_do_cuModuleLoadFatBinary(&module, ""), "driver ");
    TRY(xs_do_cuLibraryLoadData(&library, "", NULL, NULL, 0, NULL, NULL, 0), "driver ");
    TRY(xs_do_cuLibraryLoadFromFile(&library, "", NULL, NULL, 0, NULL, NULL, 0), "driver ");
    TRY(xs_do_cuGraphInstantiate(&exec, NULL, NULL, NULL, 0), "driver ");
    TRY(xs_do_cuGraphInstantiate_v2(&exec, NULL, NULL, NULL, 0), "driver ");
    TRY(xs_do_cuGraphExecUpdate(exec, NULL, NULL, NULL), "driver ");
    TRY(xs_do_cuGraphExecUpdate_v2(exec, NULL, NULL), "driver ");
    CUgraphNodeParams node = {.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC, .alloc = {.bytesize = 9}};
    node.alloc.poolProps.location = (CUmemLocation){CU_MEM_LOCATION_TYPE_DEVICE, 1};
    TRY(xs_do_cuGraphAddMemAllocNode(NULL, NULL, NULL, 0, NULL), "driver ");
    TRY(xs_do_cuGraphAddMemAllocNode(NULL, NULL, NULL, 0, &node.alloc), "driver passed:3:1:9 ");
    TRY(xs_do_cuGraphAddNode(NULL, NULL, NULL, 0, &node), "driver passed:3:1:9 ");
    TRY(xs_do_cuGraphAddNode_v2(NULL, NULL, NULL, NULL, 0, &node), "driver passed:3:1:9 ");
    node.type = 0; /* a kernel */
    TRY(xs_do_cuGraphAddNode_v2(NULL, NULL, NULL, NULL, 0, &node), "driver ");
    TRY(xs_do_cuGraphInstantiateWithFlags(&exec, NULL, 0), "driver ");
    TRY(xs_do_cuGraphInstantiateWithParams(&exec, NULL, NULL), "driver ");
    TRY(xs_do_cuGraphInstantiateWithParams_ptsz(&exec, NULL, NULL), "driver ");
    TRY(xs_do_cuCtxSetLimit(0, 9), "driver ");
    DRIVER(cuModuleGetFunction, allocate);
    DRIVER(cuModuleGetGlobal_v2, allocate);
    DRIVER(cuLibraryGetModule, allocate);
    DRIVER(cuLibraryGetGlobal, allocate);
    DRIVER(cuKernelGetFunction, allocate);
    DRIVER(cuFuncLoad, allocate);
    TRY(xs_do_cuModuleGetFunction(&function, NULL, ""), "driver ");
    TRY(xs_do_cuModuleGetGlobal_v2(&p, NULL, NULL, ""), "driver ");
    TRY(xs_do_cuLibraryGetModule(&module, NULL), "driver ");
    TRY(xs_do_cuLibraryGetGlobal(&p, NULL, NULL, ""), "driver ");
    TRY(xs_do_cuKernelGetFunction(&function, NULL), "driver ");
    TRY(xs_do_cuFuncLoad(NULL), "driver ");
    DRIVER(cuCtxEnablePeerAccess, allocate);
    DRIVER(cuMemMap, allocate);
    DRIVER(cuMemSetAccess, allocate);
    DRIVER(cuIpcOpenMemHandle, allocate);
    DRIVER(cuIpcOpenMemHandle_v2, allocate);
    TRY(xs_do_cuCtxEnablePeerAccess(NULL, 0), "driver ");
    TRY_ANY(xs_do_cuMemMap(p, 9, 0, h, 0), "driver ");
    TRY_ANY(xs_do_cuMemSetAccess(p, 9, NULL, 0), "driver ");
    TRY(xs_do_cuIpcOpenMemHandle(&p, (CUipcMemHandle){{0}}, 0), "driver ");
    TRY(xs_do_cuIpcOpenMemHandle_v2(&p, (CUipcMemHandle){{0}}, 0), "driver ");
    failures = 3; /* as long as something was given back */
    flush_helps = 2;
    cr_assert(xs_do_cuMemCreate(&h, 9, NULL, 0) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT("driver flush driver flush driver flush ");
    flush_helps = 0;
    failures = 1;
    cr_assert(xs_do_cuMemCreate(&h, 9, NULL, 0) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT("driver flush ");
    failures = 0;
    answer = CUDA_ERROR_INVALID_VALUE;
    cr_assert(xs_do_cuMemCreate(&h, 9, NULL, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT("driver ");
}

/* ---- launches --------------------------------------------------------------------------- */

static unsigned long launched[11];
static CUresult launch(unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                       unsigned long e, unsigned long f, unsigned long g, unsigned long h,
                       unsigned long i, unsigned long j, unsigned long k)
{
    const unsigned long all[] = {a, b, c, d, e, f, g, h, i, j, k};
    memcpy(launched, all, sizeof all);
    return allocate();
}

/* The arguments arrive, but for a stream they are numbered from 1; a thread's own stream is told of
 * once; and what fails for want of memory is tried again. */
static void expect_launch(const char *name, unsigned arguments, unsigned stream_at, CUstream s)
{
    for (unsigned i = 0; i < arguments; i++)
        cr_assert(launched[i] == (i == stream_at ? (unsigned long)s : i + 1), "%s: argument %u",
                  name, i);
}

#define LAUNCH(symbol, arguments, stream_at, is_seen, ...)                                         \
    atomic_store(&xs_shim_stream_noted, false);                                                    \
    cr_assert(xs_do_##symbol(__VA_ARGS__) == 0);                                                   \
    EXPECT((is_seen) ? "before_stream driver " TOLD : "driver " TOLD);                             \
    expect_launch(#symbol, arguments, stream_at, s);                                               \
    failures = flush_helps = 1;                                                                    \
    cr_assert(xs_do_##symbol(__VA_ARGS__) == 0);                                                   \
    EXPECT("driver flush driver " TOLD)
#define BOTH_FORMS(symbol, arguments, stream_at, ...)                                              \
    DRIVER(symbol, launch);                                                                        \
    DRIVER(symbol##_ptsz, launch);                                                                 \
    LAUNCH(symbol, arguments, stream_at, s == CU_STREAM_PER_THREAD, __VA_ARGS__);                  \
    LAUNCH(symbol##_ptsz, arguments, stream_at, true, __VA_ARGS__)

#define ONE_FORM(symbol, arguments, stream_at, ...)                                                \
    DRIVER(symbol, launch);                                                                        \
    LAUNCH(symbol, arguments, stream_at, (stream_at) < (arguments) && s == CU_STREAM_PER_THREAD,   \
           __VA_ARGS__)
/* The same of a call that takes no stream, and no memory. */
#define COPY(symbol, arguments, ...)                                                               \
    DRIVER(symbol, launch);                                                                        \
    cr_assert(xs_do_##symbol(__VA_ARGS__) == 0);                                                   \
    EXPECT("driver copied ");                                                                      \
    expect_launch(#symbol, arguments, arguments, NULL);                                            \
    answer = CUDA_ERROR_INVALID_VALUE;                                                             \
    cr_assert(xs_do_##symbol(__VA_ARGS__) == CUDA_ERROR_INVALID_VALUE);                            \
    EXPECT("driver ");                                                                             \
    answer = CUDA_SUCCESS

#define TOLD "launched "
Test(cuda_streams, launches)
{
    const CUstream streams[] = {NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, (CUstream)0x55};
    CUlaunchConfig config = {0};
    for (unsigned i = 0; i < 4; i++) {
        CUstream s = streams[i];
        BOTH_FORMS(cuLaunchKernel, 11, 8, (CUfunction)1, 2, 3, 4, 5, 6, 7, 8, s, (void **)10,
                   (void **)11);
        BOTH_FORMS(cuLaunchCooperativeKernel, 10, 8, (CUfunction)1, 2, 3, 4, 5, 6, 7, 8, s,
                   (void **)10);
        ONE_FORM(cuLaunch, 1, 1, (CUfunction)1);
        ONE_FORM(cuLaunchGrid, 3, 3, (CUfunction)1, 2, 3);
        ONE_FORM(cuLaunchGridAsync, 4, 3, (CUfunction)1, 2, 3, s);
        BOTH_FORMS(cuGraphLaunch, 2, 1, (CUgraphExec)1, s);
        BOTH_FORMS(cuGraphUpload, 2, 1, (CUgraphExec)1, s);
        config.hStream = s;
        BOTH_FORMS(cuLaunchKernelEx, 0, 0, &config, (CUfunction)2, (void **)3, (void **)4);
        cr_assert(launched[0] == (unsigned long)&config && launched[1] == 2 && launched[2] == 3 &&
                  launched[3] == 4);
    }
    answer = CUDA_ERROR_INVALID_VALUE; /* as it is without us */
    cr_assert(xs_do_cuLaunchKernelEx(NULL, NULL, NULL, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT("driver ");
}

#undef TOLD
#define TOLD "copied "
Test(cuda_streams, copies)
{
    const CUstream streams[] = {NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, (CUstream)0x55};
    for (unsigned i = 0; i < 4; i++) {
        CUstream s = streams[i];
        BOTH_FORMS(cuMemcpyAsync, 4, 3, 1, 2, 3, s);
        BOTH_FORMS(cuMemcpyHtoDAsync_v2, 4, 3, 1, (void *)2, 3, s);
        BOTH_FORMS(cuMemcpyDtoHAsync_v2, 4, 3, (void *)1, 2, 3, s);
        BOTH_FORMS(cuMemcpyDtoDAsync_v2, 4, 3, 1, 2, 3, s);
        BOTH_FORMS(cuMemcpyAtoHAsync_v2, 5, 4, (void *)1, (CUarray)2, 3, 4, s);
        BOTH_FORMS(cuMemcpyHtoAAsync_v2, 5, 4, (CUarray)1, 2, (void *)3, 4, s);
        BOTH_FORMS(cuMemcpyPeerAsync, 6, 5, 1, (CUcontext)2, 3, (CUcontext)4, 5, s);
        BOTH_FORMS(cuMemcpy3DPeerAsync, 2, 1, (CUDA_MEMCPY3D_PEER *)1, s);
        BOTH_FORMS(cuMemcpyWithAttributesAsync, 5, 4, 1, 2, 3, (void *)4, s);
        BOTH_FORMS(cuMemcpy3DWithAttributesAsync, 3, 2, (void *)1, 2, s);
        BOTH_FORMS(cuMemBatchDecompressAsync, 5, 4, (CUmemDecompressParams *)1, 2, 3, (size_t *)4,
                   s);
        BOTH_FORMS(cuMemcpy2DAsync_v2, 2, 1, (CUDA_MEMCPY2D *)1, s);
        BOTH_FORMS(cuMemcpy3DAsync_v2, 2, 1, (CUDA_MEMCPY3D *)1, s);
        BOTH_FORMS(cuMemsetD8Async, 4, 3, 1, 2, 3, s);
        BOTH_FORMS(cuMemsetD16Async, 4, 3, 1, 2, 3, s);
        BOTH_FORMS(cuMemsetD32Async, 4, 3, 1, 2, 3, s);
        BOTH_FORMS(cuMemsetD2D8Async, 6, 5, 1, 2, 3, 4, 5, s);
        BOTH_FORMS(cuMemsetD2D16Async, 6, 5, 1, 2, 3, 4, 5, s);
        BOTH_FORMS(cuMemsetD2D32Async, 6, 5, 1, 2, 3, 4, 5, s);
    }
}

/* What a stream writes when it comes to it. */
Test(cuda_streams, writes_of_a_stream)
{
    const CUstream streams[] = {NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, (CUstream)0x55};
    for (unsigned i = 0; i < 4; i++) {
        CUstream s = streams[i];
        BOTH_FORMS(cuStreamWriteValue32, 4, 0, s, 2, 3, 4);
        BOTH_FORMS(cuStreamWriteValue32_v2, 4, 0, s, 2, 3, 4);
        BOTH_FORMS(cuStreamWriteValue64, 4, 0, s, 2, 3, 4);
        BOTH_FORMS(cuStreamWriteValue64_v2, 4, 0, s, 2, 3, 4);
        BOTH_FORMS(cuStreamBatchMemOp, 4, 0, s, 2, (CUstreamBatchMemOpParams *)3, 4);
        BOTH_FORMS(cuStreamBatchMemOp_v2, 4, 0, s, 2, (CUstreamBatchMemOpParams *)3, 4);
    }
}

/* Within the device they go on by themselves by these calls as well, and memory that is managed may
 * be at either end. */
Test(cuda_streams, copies_within_the_device)
{
    COPY(cuMemcpy, 3, 1, 2, 3);
    COPY(cuMemcpyDtoD_v2, 3, 1, 2, 3);
    COPY(cuMemcpy2D_v2, 1, (CUDA_MEMCPY2D *)1);
    COPY(cuMemcpy2DUnaligned_v2, 1, (CUDA_MEMCPY2D *)1);
    COPY(cuMemcpy3D_v2, 1, (CUDA_MEMCPY3D *)1);
    COPY(cuMemcpyPeer, 5, 1, (CUcontext)2, 3, (CUcontext)4, 5);
    COPY(cuMemcpy3DPeer, 1, (CUDA_MEMCPY3D_PEER *)1);
    COPY(cuMemcpyAtoD_v2, 4, 1, (CUarray)2, 3, 4);
}

#undef TOLD
#define TOLD "called "
Test(cuda_streams, functions_of_the_host)
{
    const CUstream streams[] = {NULL, CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, (CUstream)0x55};
    for (unsigned i = 0; i < 4; i++) {
        CUstream s = streams[i];
        BOTH_FORMS(cuLaunchHostFunc, 3, 0, s, (CUhostFn)2, (void *)3);
        BOTH_FORMS(cuLaunchHostFunc_v2, 4, 0, s, (CUhostFn)2, (void *)3, 4);
        BOTH_FORMS(cuStreamAddCallback, 4, 0, s, (CUstreamCallback)2, (void *)3, 4);
    }
}

Test(cuda_streams, launches_that_overlap)
{
    CUlaunchAttribute attributes[] = {
        {.id = 1},
        {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION},
        {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
         .value.programmaticStreamSerializationAllowed = 1},
    };
    CUlaunchConfig config = {.attrs = attributes, .numAttrs = 2};
    xs_do_cuLaunchKernelEx(&config, NULL, NULL, NULL);
    EXPECT("driver launched ");
    config.numAttrs = 3;
    xs_do_cuLaunchKernelEx(&config, NULL, NULL, NULL);
    EXPECT("overlap driver launched ");
    atomic_store(&xs_shim_stream_noted, true);
    xs_do_cuLaunchKernelEx_ptsz(&config, NULL, NULL, NULL);
    EXPECT("overlap driver launched ");
    config.attrs = NULL;
    xs_do_cuLaunchKernelEx(&config, NULL, NULL, NULL);
    EXPECT("driver launched ");
}

Test(cuda_streams, a_stream_is_made_once_there_is_memory)
{
    CUstream s = (CUstream)0x66;
    DRIVER(cuStreamCreate, allocate);
    DRIVER(cuStreamCreateWithPriority, allocate);
    DRIVER(cuGreenCtxStreamCreate, allocate);
    DRIVER(cuCtxFromGreenCtx, give);
    DRIVER(cuGreenCtxCreate, allocate);
    CUgreenCtx green;
    failures = flush_helps = 1;
    cr_assert(xs_do_cuGreenCtxCreate(&green, NULL, 3, 1) == 0);
    EXPECT("driver flush:3 driver ");
    failures = flush_helps = 1;
    cr_assert(xs_do_cuStreamCreate(&s, 1) == 0);
    EXPECT("before_stream driver flush driver after_stream:66:1 ");
    failures = flush_helps = 1;
    cr_assert(xs_do_cuStreamCreateWithPriority(&s, 1, 0) == 0);
    EXPECT("before_stream driver flush driver after_stream:66:1 ");
    failures = flush_helps = 1;
    cr_assert(xs_do_cuGreenCtxStreamCreate(&s, (CUgreenCtx)0x90, 1, 0) == 0);
    EXPECT("before_stream driver flush driver driver after_context:c1 after_stream:66:1 ");
}

Test(cuda_streams, what_changes_a_block_for_good)
{
    CUpointer_attribute all[] = {CU_POINTER_ATTRIBUTE_CONTEXT, CU_POINTER_ATTRIBUTE_P2P_TOKENS};
    void *values[2] = {NULL, NULL};
    CUmemLocation nowhere = {0, 0};
    int one = 1;
    xs_do_cuPointerSetAttribute(&one, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, 0x30);
    EXPECT("never:30 driver ");
    xs_do_cuPointerGetAttribute(&one, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0x30);
    EXPECT("driver ");
    xs_do_cuPointerGetAttribute(&one, CU_POINTER_ATTRIBUTE_P2P_TOKENS, 0x30);
    EXPECT("never:30 driver ");
    xs_do_cuPointerGetAttributes(2, all, values, 0x30);
    EXPECT("never:30 driver ");
    xs_do_cuPointerGetAttributes(1, all, values, 0x30);
    EXPECT("driver ");
    xs_do_cuMemAdvise(0x30, 8, 1, 0);
    EXPECT("never:30 driver ");
    xs_do_cuMemAdvise_v2(0x30, 8, 1, nowhere);
    EXPECT("never:30 driver ");
}

/* What the driver got of the last frame. */
static CUeglFrame presented;
static CUstream *presented_on;
static CUresult present(void *connection, CUeglFrame frame, CUstream *stream)
{
    tell("present:%lx ", (long)connection);
    presented = frame;
    presented_on = stream;
    return 77;
}

Test(cuda_streams, frames_of_egl)
{
    void *c = (void *)0xE, *resource;
    CUeglFrame frame = {.plane = {0x1000, 0x2000, 0x3000},
                        .width = 640,
                        .plane_count = 2,
                        .type = CU_EGL_FRAME_TYPE_PITCH,
                        .format = 9};
    CUstream mine = CU_STREAM_PER_THREAD, others[] = {NULL, CU_STREAM_LEGACY, (CUstream)0x55};
    for (unsigned i = 0; i < 3; i++) {
        xs_do_cuEGLStreamConsumerAcquireFrame(c, &resource, &others[i], 0);
        xs_do_cuEGLStreamConsumerReleaseFrame(c, resource, &others[i]);
        xs_do_cuEGLStreamProducerReturnFrame(c, &frame, &others[i]);
        EXPECT("driver driver driver ");
    }
    xs_do_cuEGLStreamConsumerAcquireFrame(c, &resource, NULL, 0);
    EXPECT("driver ");
#define FIRST(call)                                                                                \
    atomic_store(&xs_shim_stream_noted, false);                                                    \
    (void)(call);                                                                                  \
    EXPECT("before_stream driver ");                                                               \
    (void)(call);                                                                                  \
    EXPECT("driver ")
    FIRST(xs_do_cuEGLStreamConsumerAcquireFrame(c, &resource, &mine, 0));
    FIRST(xs_do_cuEGLStreamConsumerReleaseFrame(c, resource, &mine));
    FIRST(xs_do_cuEGLStreamProducerReturnFrame(c, &frame, &mine));
    /* Its memory is another's too, from then on. */
    DRIVER(cuEGLStreamProducerPresentFrame, present);
    atomic_store(&xs_shim_stream_noted, false);
    cr_assert(xs_do_cuEGLStreamProducerPresentFrame(c, frame, &mine) == 77);
    EXPECT("before_stream never:1000 never:2000 present:e ");
    cr_assert(memcmp(&presented, &frame, sizeof frame) == 0 && presented_on == &mine);
    frame.plane_count = 9;
    cr_assert(xs_do_cuEGLStreamProducerPresentFrame(c, frame, &others[2]) == 77);
    EXPECT("never:1000 never:2000 never:3000 present:e ");
    frame.type = 0;
    cr_assert(xs_do_cuEGLStreamProducerPresentFrame(c, frame, NULL) == 77);
    EXPECT("present:e ");
}
