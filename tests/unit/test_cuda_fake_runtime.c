/* The fake driver's resolver, and the small runtime that finds the driver by it. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>

#include "fake.h"

#define OK(call)          cr_assert_eq((call), CUDA_SUCCESS, "%s", #call)
#define GIVES(code, call) cr_assert_eq((call), (code), "%s", #call)

TestSuite(cuda_fake_runtime, .timeout = 20);

static void *get(const char *name, int version, uint64_t flags)
{
    void *p = NULL;
    OK(cuGetProcAddress_v2(name, &p, version, flags, NULL));
    return p;
}

Test(cuda_fake_runtime, the_resolver_knows_versions_and_streams)
{
    CUdriverProcAddressQueryResult status;
    void *p;
    cr_assert_eq(get("cuMemAlloc", 3020, 0), (void *)cuMemAlloc_v2);
    cr_assert_eq(get("cuMemAlloc", 13000, 2), (void *)cuMemAlloc_v2);
    cr_assert_eq(get("cuMemAllocAsync", 12000, 1), (void *)cuMemAllocAsync);
    cr_assert_eq(get("cuMemAllocAsync", 12000, 2), (void *)cuMemAllocAsync_ptsz);
    cr_assert_eq(get("cuMemPrefetchAsync", 12010, 2), (void *)cuMemPrefetchAsync_ptsz);
    cr_assert_eq(get("cuMemPrefetchAsync", 12020, 0), (void *)cuMemPrefetchAsync_v2);
    cr_assert_eq(get("cuCtxSynchronize", 12000, 0), (void *)cuCtxSynchronize);
    cr_assert_eq(get("cuCtxSynchronize", 13000, 0), (void *)cuCtxSynchronize_v2);
    cr_assert_eq(get("cuGetProcAddress", 11030, 0), (void *)cuGetProcAddress);
    cr_assert_eq(get("cuGetProcAddress", 12000, 0), (void *)cuGetProcAddress_v2);
    cr_assert_eq(fake_resolved("cuMemAlloc_v2"), 2);
    OK(cuGetProcAddress_v2("cuNoSuchThing", &p, 13000, 0, &status));
    cr_assert(p == NULL && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    OK(cuGetProcAddress_v2("cuCtxRecordEvent", &p, 12000, 0, &status));
    cr_assert(p == NULL && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    GIVES(CUDA_ERROR_NOT_FOUND, cuGetProcAddress("cuNoSuchThing", &p, 13000, 0));
    fake_set_version(11080); /* an older driver has no younger calls */
    cr_assert_eq(get("cuCtxRecordEvent", 13000, 0), NULL);
    cr_assert_eq(get("cuMemPrefetchAsync", 13000, 0), (void *)cuMemPrefetchAsync);
}

Test(cuda_fake_runtime, the_runtime_finds_it_as_the_real_one_does)
{
    void *p = &p, *q;
    cr_assert_eq(fake_calls_all(), 0, "nothing before the first call");
    GIVES(cudaSuccess, cudaMalloc(&p, 0));
    cr_assert_null(p);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 0);
    cr_assert_geq(fake_calls("cuGetProcAddress_v2"), 200);
    cr_assert_eq(fake_calls("cuGetProcAddress"), 0);
    cr_assert_eq(fake_resolved("cuGetProcAddress_v2"), 2);
    cr_assert_eq(fake_calls("cuGetExportTable"), 1);
    GIVES(cudaSuccess, cudaMalloc(&p, 4096));
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 1);
    char back[4] = "";
    GIVES(cudaSuccess, cudaMemset(p, 'r', 4096));
    GIVES(cudaSuccess, cudaMemcpy(back, p, 3, cudaMemcpyDeviceToHost));
    cr_assert_str_eq(back, "rrr");
    GIVES(cudaErrorMemoryAllocation, cudaMalloc(&q, (size_t)1 << 40));
    cr_assert_eq(cudaGetLastError(), cudaErrorMemoryAllocation);
    cr_assert_eq(cudaGetLastError(), cudaSuccess);
    GIVES(cudaSuccess, cudaMallocHost(&q, 64));
    GIVES(cudaSuccess, cudaFreeHost(q));
    GIVES(cudaSuccess, cudaFree(p));
    GIVES(cudaErrorInvalidValue, cudaFree(p));
    GIVES(cudaSuccess, cudaFree(NULL));
    cr_assert_eq(fake_calls("cuMemFree_v2"), 2);
    GIVES(cudaSuccess, cudaMalloc(&p, 64));
    GIVES(cudaSuccess, cudaDeviceReset());
    cr_assert_eq(fake_used(0), 0);
    GIVES(cudaSuccess, cudaMalloc(&p, 64));
}

Test(cuda_fake_runtime, the_shared_runtime_is_another_instance)
{
    void *h = dlopen("libcudart.so.12", RTLD_NOW | RTLD_LOCAL), *p;
    cr_assert_not_null(h, "%s", dlerror());
    cudaError_t (*shared_malloc)(void **, size_t) =
        (cudaError_t(*)(void **, size_t))dlsym(h, "cudaMalloc");
    cr_assert_neq(shared_malloc, cudaMalloc);
    GIVES(cudaSuccess, shared_malloc(&p, 64));
    unsigned long look_ups = fake_calls("cuGetProcAddress_v2");
    GIVES(cudaSuccess, cudaMalloc(&p, 64));
    cr_assert_eq(fake_calls("cuGetProcAddress_v2"), 2 * look_ups);
    cr_assert_eq(fake_calls("cuMemAlloc_v2"), 2);
}
