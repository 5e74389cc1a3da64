/* The table of hooked calls, and the jumps: arguments arrive whole, and CU_STREAM_PER_THREAD is
 * seen where it is the stream, and nowhere else. No driver: each "driver's own" call is `record`.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "cuda_shim/shim.h"
#include "gpu/driver.h"

enum { ARGUMENTS = 11, THREAD = 100, CALL = 101 };

typedef unsigned long word;
typedef unsigned call(word, word, word, word, word, word, word, word, word, word, word);

static word got[ARGUMENTS];
static unsigned calls, seen;

static unsigned record(word a, word b, word c, word d, word e, word f, word g, word h, word i,
                       word j, word k)
{
    const word all[] = {a, b, c, d, e, f, g, h, i, j, k};

    memcpy(got, all, sizeof got);
    calls++;
    return 77;
}

void __wrap_xs_shim_stream_seen(void);
void __wrap_xs_shim_stream_seen(void)
{
    /* What a callee may do to the registers of arguments. */
#if defined(__x86_64__)
    __asm__ volatile("mov $-1, %%rax\n mov %%rax, %%rdi\n mov %%rax, %%rsi\n mov %%rax, %%rdx\n"
                     "mov %%rax, %%rcx\n mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n"
                     "mov %%rax, %%r11\n"
                     :
                     :
                     : "rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11", "memory");
#elif defined(__aarch64__)
    __asm__ volatile("mov x0, #-1\n mov x1, x0\n mov x2, x0\n mov x3, x0\n mov x4, x0\n"
                     "mov x5, x0\n mov x6, x0\n mov x7, x0\n mov x8, x0\n mov x16, x0\n"
                     "mov x17, x0\n"
                     :
                     :
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x16", "x17",
                       "memory");
#endif
    seen++;
}

static const struct {
    const char *symbol, *name;
    int version, per_thread;
    unsigned where;
} rows[] = {
#define X(name, version, per_thread, symbol) {#symbol, #name, version, per_thread, CALL},
    XS_HOOK_CALLS(X)
#undef X
#define X(name, version, symbol, where)                                                            \
    {#symbol, #name, version, 0, where},                                                           \
        {#symbol "_ptsz", #name, version < 7000 ? 7000 : version, 1, THREAD},
        XS_HOOK_STREAMS(X)
#undef X
#define X(name, version, symbol, where) {#symbol, #name, version, 0, where},
            XS_HOOK_STREAMS_ALONE(X)
#undef X
#define X(name, version, symbol) {#symbol "_ptds", #name, version, 1, THREAD},
                XS_HOOK_THREADS(X)
#undef X
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* Calls a hook with `stream` in place `at` (ARGUMENTS: in no place). Was it seen? */
static bool is_seen(unsigned hook, unsigned at, word stream)
{
    word a[ARGUMENTS];
    unsigned seen_before = seen, calls_before = calls;

    for (unsigned i = 0; i < ARGUMENTS; i++)
        a[i] = 0x1111111111111111u * (i + 1);
    if (at < ARGUMENTS)
        a[at] = stream;
    xs_shim_real[hook] = (void *)(word)record;
    call *f = (call *)(word)xs_hook_entry((enum xs_hook)hook);
    unsigned r = f(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]);
    cr_assert(r == 77 && calls == calls_before + 1, "%s", rows[hook].symbol);
    cr_assert(memcmp(a, got, sizeof a) == 0, "%s: arguments changed", rows[hook].symbol);
    cr_assert(seen <= seen_before + 1);
    return seen != seen_before;
}

Test(cuda_hooks, numbers_are_rows)
{
    cr_assert(ROWS == (int)XS_HOOK_COUNT);
    for (unsigned i = 0; i < ROWS; i++) {
        cr_assert(strcmp(xs_hook_symbol((enum xs_hook)i), rows[i].symbol) == 0);
        cr_assert(xs_hook_find(rows[i].symbol) == (enum xs_hook)i);
    }
    cr_assert(strcmp(xs_hook_symbol(XS_HOOK_cuMemAlloc_v2), "cuMemAlloc_v2") == 0);
    cr_assert(strcmp(xs_hook_symbol(XS_HOOK_cuLaunchKernel_ptsz), "cuLaunchKernel_ptsz") == 0);
    cr_assert(strcmp(xs_hook_symbol(XS_HOOK_cuMemcpy_ptds), "cuMemcpy_ptds") == 0);
    const char *none[] = {
        "",           "cu",          "cuMemAlloc", "cuMemAlloc_v",  "cuMemAlloc_v22",
        "cudaMalloc", "cudnnCreate", "cuInit",     "xcuMemAlloc_v2"};
    for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++)
        cr_assert(xs_hook_find(none[i]) == XS_HOOK_COUNT, "%s", none[i]);
}

Test(cuda_hooks, streams_are_seen_where_they_are)
{
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned where = rows[i].where;
        if (where == CALL)
            continue;
        if (where == THREAD) {
            atomic_store(&xs_shim_stream_noted, false);
            cr_assert(is_seen(i, ARGUMENTS, 0), "%s", rows[i].symbol);
            atomic_store(&xs_shim_stream_noted, true);
            cr_assert(!is_seen(i, ARGUMENTS, 0), "%s", rows[i].symbol);
            continue;
        }
        for (unsigned at = 0; at <= ARGUMENTS; at++)
            cr_assert(is_seen(i, at, 2) == (at == where), "%s: argument %u", rows[i].symbol, at);
        for (word stream = 0; stream < 2; stream++)
            cr_assert(!is_seen(i, where, stream), "%s: stream %lu", rows[i].symbol, stream);
        cr_assert(!is_seen(i, where, 0x100000002), "%s: a handle that ends in 2", rows[i].symbol);
    }
}

/* ---- what cuGetProcAddress answered with ------------------------------------------------ */

static char place[ROWS];
static char elsewhere;

static void give_addresses(void)
{
    for (unsigned i = 0; i < ROWS; i++)
        xs_shim_real[i] = &place[i];
}

static enum xs_hook answered(const char *name, const void *address, int version, uint64_t flags,
                             bool by_version)
{
    bool was;
    enum xs_hook hook = xs_hook_answered(name, address, version, flags, &was);

    cr_assert(hook == XS_HOOK_COUNT || was == by_version, "%s %d", name, version);
    return hook;
}

Test(cuda_hooks, answers_are_known_by_their_address)
{
    give_addresses();
    for (unsigned i = 0; i < ROWS; i++) {
        /* Whatever the caller said, the driver's answer counts. */
        cr_assert(answered(rows[i].name, &place[i], 2000, 0, false) == (enum xs_hook)i);
        cr_assert(answered(rows[i].name, &place[i], 99000, 2, false) == (enum xs_hook)i);
        cr_assert(answered(rows[i].symbol, &place[i], rows[i].version, 0, false) ==
                  (enum xs_hook)i);
    }
    /* Two functions that are one in the driver's code: each by its own name. */
    xs_shim_real[XS_HOOK_cuMemHostRegister_v2] = &place[XS_HOOK_cuMemFree_v2];
    cr_assert(answered("cuMemHostRegister", &place[XS_HOOK_cuMemFree_v2], 6050, 0, false) ==
              XS_HOOK_cuMemHostRegister_v2);
    cr_assert(answered("cuMemFree", &place[XS_HOOK_cuMemFree_v2], 3020, 0, false) ==
              XS_HOOK_cuMemFree_v2);
    cr_assert(answered("cuMemAddressFree", &place[XS_HOOK_cuMemFree_v2], 10020, 0, false) ==
              XS_HOOK_COUNT);
    /* One whose newer form has another name. */
    cr_assert(answered("cuGraphInstantiate", &elsewhere, 12000, 0, false) == XS_HOOK_COUNT);
}

Test(cuda_hooks, answers_at_another_address_are_known_by_version)
{
    give_addresses();
    const struct {
        const char *name;
        int version, flags;
        enum xs_hook hook;
    } asked[] = {
        {"cuMemAlloc", 3020, 0, XS_HOOK_cuMemAlloc_v2},
        {"cuMemAlloc", 2000, 0, XS_HOOK_COUNT},
        {"cuMemAlloc", 12000, 2, XS_HOOK_cuMemAlloc_v2},
        {"cuMemAlloc_v2", 12000, 0, XS_HOOK_COUNT},
        {"cuGetProcAddress", 11030, 0, XS_HOOK_cuGetProcAddress},
        {"cuGetProcAddress", 11999, 0, XS_HOOK_cuGetProcAddress},
        {"cuGetProcAddress", 12000, 0, XS_HOOK_cuGetProcAddress_v2},
        {"cuMemcpyHtoD", 12000, 0, XS_HOOK_COUNT},
        {"cuMemcpyHtoD", 6000, 2, XS_HOOK_COUNT},
        {"cuMemcpyHtoD", 7000, 2, XS_HOOK_cuMemcpyHtoD_v2_ptds},
        {"cuMemcpy", 12000, 0, XS_HOOK_cuMemcpy},
        {"cuMemcpy", 6000, 2, XS_HOOK_cuMemcpy},
        {"cuMemcpy", 7000, 2, XS_HOOK_cuMemcpy_ptds},
        {"cuEventRecord", 6000, 2, XS_HOOK_cuEventRecord},
        {"cuEventRecord", 13000, 0, XS_HOOK_cuEventRecord},
        {"cuEventRecord", 13000, 1, XS_HOOK_cuEventRecord},
        {"cuEventRecord", 13000, 2, XS_HOOK_cuEventRecord_ptsz},
        {"cuCtxSynchronize", 12080, 0, XS_HOOK_cuCtxSynchronize},
        {"cuCtxSynchronize", 13000, 0, XS_HOOK_cuCtxSynchronize_v2},
        {"cuMemcpyBatchAsync", 12080, 0, XS_HOOK_cuMemcpyBatchAsync},
        {"cuMemcpyBatchAsync", 13000, 2, XS_HOOK_cuMemcpyBatchAsync_v2_ptsz},
        {"cuMemPrefetchAsync", 12010, 0, XS_HOOK_cuMemPrefetchAsync},
        {"cuMemPrefetchAsync", 12020, 0, XS_HOOK_cuMemPrefetchAsync_v2},
        {"cuLaunchHostFunc", 13000, 0, XS_HOOK_cuLaunchHostFunc},
        {"cuLaunchHostFunc", 13010, 2, XS_HOOK_cuLaunchHostFunc_v2_ptsz},
        {"cuCtxCreate", 3000, 0, XS_HOOK_cuCtxCreate},
        {"cuCtxCreate", 12050, 0, XS_HOOK_cuCtxCreate_v4},
        {"cuStreamQuery", 12000, 2, XS_HOOK_COUNT},
        {"", 0, 0, XS_HOOK_COUNT},
    };
    for (unsigned i = 0; i < sizeof asked / sizeof asked[0]; i++)
        cr_assert(answered(asked[i].name, &elsewhere, asked[i].version, (uint64_t)asked[i].flags,
                           true) == asked[i].hook,
                  "%s %d %d", asked[i].name, asked[i].version, asked[i].flags);
}

/* A driver whose cuGetProcAddress answers with addresses that it does not export: `elsewhere`, and
 * `younger` for who asks for more than we know. */
static char younger;
static int asked_first;
static bool has_younger;

static CUresult resolver(const char *name, void **out, int version, uint64_t flags,
                         CUdriverProcAddressQueryResult *status)
{
    (void)flags;
    if (asked_first == 0)
        asked_first = version;
    if (status != NULL)
        *status = 5;
    if (out == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *out = has_younger && version > XS_HOOK_NEWEST ? &younger : &elsewhere;
    return strcmp(name, "cuMemFree") == 0 ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

static CUresult resolver_11(const char *name, void **out, int version, uint64_t flags)
{
    return resolver(name, out, version, flags, NULL);
}

static void *asked(const char *name, int version)
{
    void *p = NULL, *p_11 = NULL;
    CUdriverProcAddressQueryResult status = 0;

    asked_first = 0;
    CUresult r = xs_do_cuGetProcAddress_v2(name, &p, version, 0, &status);
    cr_assert(asked_first == version && status == 5);
    cr_assert(r == xs_do_cuGetProcAddress(name, &p_11, version, 0));
    cr_assert(p == p_11);
    cr_assert(xs_do_cuGetProcAddress_v2(name, NULL, version, 0, &status) ==
              CUDA_ERROR_INVALID_VALUE);
    cr_assert(xs_do_cuGetProcAddress_v2(name, &p_11, version, 0, NULL) == r && p == p_11);
    return p;
}

Test(cuda_hooks, a_driver_with_other_addresses)
{
    give_addresses();
    xs_shim_real[XS_HOOK_cuGetProcAddress_v2] = (void *)(word)resolver;
    xs_shim_real[XS_HOOK_cuGetProcAddress] = (void *)(word)resolver_11;
    xs_shim_real[XS_HOOK_cuMemCreate] = NULL;
    xs_cu.version = 14000;
    cr_assert(asked("cuMemAlloc", 3020) == xs_hook_entry(XS_HOOK_cuMemAlloc_v2));
    cr_assert(asked("cuCtxSynchronize", 12000) == xs_hook_entry(XS_HOOK_cuCtxSynchronize));
    cr_assert(asked("cuGetProcAddress", 12000) == xs_hook_entry(XS_HOOK_cuGetProcAddress_v2));
    cr_assert(asked("cuStreamQuery", 12000) == &elsewhere, "not ours");
    cr_assert(asked("cuMemFree", 12000) == &elsewhere, "an error");
    cr_assert(asked("cuMemCreate", 12000) == &elsewhere, "nothing to call");
    cr_assert(asked("cudaMalloc", 12000) == &elsewhere);
    cr_assert(asked("", 12000) == &elsewhere);
    /* Of a CUDA that we do not know: what it still has in the old form. */
    cr_assert(asked("cuMemAlloc", XS_HOOK_NEWEST + 10) == xs_hook_entry(XS_HOOK_cuMemAlloc_v2));
    has_younger = true;
    cr_assert(asked("cuMemAlloc", XS_HOOK_NEWEST + 10) == &younger);
    cr_assert(asked("cuMemAlloc", XS_HOOK_NEWEST) == xs_hook_entry(XS_HOOK_cuMemAlloc_v2));
    /* An old driver means the old form, whatever is asked. */
    has_younger = false;
    xs_cu.version = 12000;
    cr_assert(asked("cuCtxSynchronize", 13000) == xs_hook_entry(XS_HOOK_cuCtxSynchronize));
    cr_assert(asked("cuMemPrefetchAsync", 12020) == xs_hook_entry(XS_HOOK_cuMemPrefetchAsync));
}
