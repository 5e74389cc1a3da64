/* Where the driver is, and what the program gets when it looks a name of the driver's up. */
#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fmt.h"
#include "cuda_shim/shim.h"
#include "gpu/gpu.h"
#include "gpu/hooks.h"
#include "policy/gpu_options.h"
#include "report/log.h"
#include "sys/elf.h"
#include "sys/env.h"
#include "sys/proc.h"

#define SONAME "libcuda.so.1"

/* Called by jumps.c. */
XS_HIDDEN void xs_shim_next_find(void);
XS_HIDDEN void *xs_shim_found(void *handle, const char *name, const char *version, void *caller);
XS_HIDDEN void *xs_shim_bind(uint64_t hook);

/* The real functions, or those of the next library that has its own; NULL until the first call. */
XS_HIDDEN void *(*xs_next_dlsym)(void *handle, const char *name);
XS_HIDDEN void *(*xs_next_dlvsym)(void *handle, const char *name, const char *version);

/* Where an exported call goes; NULL until it is first called. */
XS_UNLIKELY_DATA XS_HIDDEN void *xs_shim_slot[XS_HOOK_COUNT];

/* Its link map, and IS_ON; 0 until it was seen. Released after xs_shim_real is whole, and no lock
 * is held for it: so a child of fork has it, or finds it all anew. */
static _Atomic uintptr_t driver;
enum { IS_ON = 1 };
_Static_assert(_Alignof(struct link_map) > IS_ON, "room for the mark");

void xs_shim_next_find(void)
{
    xs_next_dlsym = (__typeof__(xs_next_dlsym))(uintptr_t)xs_elf_next("dlsym");
    xs_next_dlvsym = (__typeof__(xs_next_dlvsym))(uintptr_t)xs_elf_next("dlvsym");
}

/* ---- the driver ------------------------------------------------------------------------- */

static void *look_up(void *map, const char *symbol)
{
    return xs_elf_in(map, symbol);
}

static int is_checker(struct dl_phdr_info *info, size_t size, void *unused)
{
    const char *slash = strrchr(info->dlpi_name, '/');

    (void)size, (void)unused;
    return slash != NULL && strncmp(slash, "/libsanitizer-", 14) == 0;
}

/* compute-sanitizer looks for the end of each allocation: it must see the program's own. The driver
 * loads it by this variable, or it is in the process already. cuda-gdb stops where a kernel leaves
 * an allocation. Where it is known from, or NULL. */
static const char *checked_by(void)
{
    const char *injected = xs_env_get("CUDA_INJECTION64_PATH");

    if (injected != NULL && strstr(injected, "sanitizer") != NULL)
        return "CUDA_INJECTION64_PATH names a sanitizer";
    if (dl_iterate_phdr(is_checker, NULL) != 0)
        return "compute-sanitizer is in this process";
    return xs_proc_is_traced_by("cuda-gdb") ? "cuda-gdb traces this process" : NULL;
}

static void says_off(const char *why)
{
    xs_log("%s: GPU allocations go straight to the driver", why);
}
void (*xs_gpu_says_off)(const char *why) = says_off;

static const struct link_map *seen(void)
{
    uintptr_t at = atomic_load_explicit(&driver, memory_order_acquire);

    return (const struct link_map *)(at & ~(uintptr_t)IS_ON);
}

/* Threads that do this at the same time write the same; what the first of them says holds. A driver
 * that answers with an error is not told of: the program hears it from that itself. */
static void note_driver(struct link_map *map)
{
    const bool wanted = xs_gpu_wanted();
    const char *why = wanted ? checked_by() : NULL;
    bool on = wanted && why == NULL && xs_cu_find(look_up, map);
    uintptr_t none = 0;
    XS_BUF(lacking, 96);

    for (unsigned i = 0; i < XS_HOOK_COUNT; i++)
        __atomic_store_n(&xs_shim_real[i], xs_elf_in(map, xs_hook_symbol((enum xs_hook)i)),
                         __ATOMIC_RELAXED);
    if (!atomic_compare_exchange_strong_explicit(&driver, &none, (uintptr_t)map | (on ? IS_ON : 0),
                                                 memory_order_release, memory_order_relaxed) ||
        on || !wanted)
        return;
    const char *lacks = atomic_load_explicit(&xs_cu.lacks, memory_order_relaxed);
    if (why == NULL && lacks != NULL) {
        xs_fmt(&lacking, "this driver has no %s", lacks);
        why = lacking.at;
    }
    if (why != NULL)
        says_off(why);
}

/* Of what the program calls itself, only the name is known to all: the soname. Opened once more it
 * stays, even if the runtime closes it. */
static const struct link_map *open_driver(int mode)
{
    struct link_map *map = NULL;
    void *handle = dlopen(SONAME, mode | RTLD_LAZY | RTLD_NODELETE);

    if (handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0)
        note_driver(map);
    else
        (void)dlerror(); /* none of the program's business */
    return seen();
}

const void *xs_shim_driver(void)
{
    const struct link_map *map = seen();

    return map != NULL ? map : open_driver(RTLD_NOLOAD);
}

bool xs_shim_is_on(void)
{
    return xs_shim_driver() != NULL &&
           (atomic_load_explicit(&driver, memory_order_relaxed) & IS_ON) != 0;
}

static bool load(void)
{
    if (xs_shim_driver() == NULL)
        (void)open_driver(RTLD_LOCAL);
    return xs_shim_is_on() && xs_cu_ready();
}
bool (*xs_cu_loader)(void) = load;

/* Nothing is written in a process that has nothing to do with CUDA. */
static void forked(void)
{
    if (seen() != NULL)
        xs_shim_streams_forked();
}
void (*xs_cu_shim_forked)(void) = forked;

static const struct link_map *map_of(const void *address)
{
    Dl_info info;
    struct link_map *map = NULL;

    return dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 ? map : NULL;
}

static bool is_drivers_own(const void *address)
{
    const struct link_map *map = map_of(address);

    return map != NULL && map == xs_shim_driver();
}

/* ---- dlsym ------------------------------------------------------------------------------ */

void *xs_shim_dlsym(void *handle, const char *name, const char *version)
{
    if (xs_next_dlsym == NULL)
        xs_shim_next_find();
    return version == NULL ? xs_next_dlsym(handle, name) : xs_next_dlvsym(handle, name, version);
}

/* RTLD_DEFAULT: the global scope is everybody's, then comes the caller's own. */
static void *find_default(const char *name, const char *version, const void *caller)
{
    Dl_info info;
    void *p = xs_shim_dlsym(RTLD_DEFAULT, name, version);

    if (p != NULL || dladdr(caller, &info) == 0 || info.dli_fname == NULL)
        return p;
    void *handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == NULL)
        return NULL;
    p = xs_shim_dlsym(handle, name, version);
    (void)dlclose(handle);
    return p;
}

/* The driver is in the scope that RTLD_NEXT searches; asked by names that tracers leave alone. */
static bool is_driver_global(void)
{
    static const char names[][20] = {"cuGetExportTable", "cuGetErrorName", "cuDeviceGetName"};

    for (unsigned i = 0; i < XS_COUNT_OF(names); i++)
        if (is_drivers_own(xs_shim_dlsym(RTLD_DEFAULT, names[i], NULL)))
            return true;
    return false;
}

/* RTLD_NEXT: the driver's, if none between the caller and the driver has the name. For a library
 * that was opened later it natively means the libraries opened with it; from such a one the driver
 * is found here though it be in the global scope only. */
static void *find_next(const char *name, const void *caller)
{
    const struct link_map *map = map_of(caller);

    if (map == NULL || xs_shim_driver() == NULL || !is_driver_global())
        return NULL;
    while ((map = map->l_next) != NULL && map != xs_shim_driver())
        if (map != map_of((void *)(uintptr_t)xs_shim_found) && xs_elf_in(map, name) != NULL)
            return NULL;
    return map != NULL ? xs_elf_in(map, name) : NULL;
}

/* What dlsym is to answer, or NULL: it must go on, from where it was called, as if we were not
 * here. Our own exports of the names are hidden from it by their version. */
void *xs_shim_found(void *handle, const char *name, const char *version, void *caller)
{
    enum xs_hook hook;
    void *p;

    if (name[2] < 'A' || name[2] > 'Z') /* the runtime's, cuBLAS's, curl's */
        return NULL;
    hook = xs_hook_find(name);
    if (hook == XS_HOOK_COUNT || !xs_gpu_wanted())
        return NULL;
    if (handle == RTLD_DEFAULT)
        p = find_default(name, version, caller);
    else if (handle == RTLD_NEXT)
        p = version == NULL ? find_next(name, caller) : NULL;
    else
        p = xs_shim_dlsym(handle, name, version);
    if (p == NULL || !xs_shim_is_on() || !is_drivers_own(p))
        return NULL;
    return xs_hook_entry(hook);
}

/* ---- the exported names, for programs that are linked with libcuda -----------------------------
 */

static CUresult no_driver(void)
{
    return CUDA_ERROR_NOT_INITIALIZED;
}

/* Another library between us and the driver may have its own of the name: then that, which will
 * look for the next one itself. */
void *xs_shim_bind(uint64_t hook)
{
    void *p = xs_shim_dlsym(RTLD_NEXT, xs_hook_symbol((enum xs_hook)hook), NULL);

    (void)dlerror();
    if (p == NULL || is_drivers_own(p)) {
        if (xs_shim_driver() == NULL || xs_shim_real[hook] == NULL)
            return (void *)(uintptr_t)no_driver;
        p = xs_shim_is_on() ? xs_hook_entry((enum xs_hook)hook) : xs_shim_real[hook];
    }
    __atomic_store_n(&xs_shim_slot[hook], p, __ATOMIC_RELEASE);
    return p;
}

/* ---- cuGetProcAddress ------------------------------------------------------------------- */

/* A driver younger than our list may have given a name a new form: it is then not the one that it
 * gives to who knows no more than we do. */
static bool is_known_form(const char *name, const void *address, int version, uint64_t flags)
{
    void *known = NULL;
    CUdriverProcAddressQueryResult unused;

    if (version <= XS_HOOK_NEWEST)
        return true;
    if (XS_REAL(cuGetProcAddress_v2) != NULL)
        (void)XS_REAL(cuGetProcAddress_v2)(name, &known, XS_HOOK_NEWEST, flags, &unused);
    else
        (void)XS_REAL(cuGetProcAddress)(name, &known, XS_HOOK_NEWEST, flags);
    return known == address;
}

static void answer(const char *name, void **out, int version, uint64_t flags)
{
    bool by_version;

    if (name == NULL || out == NULL || *out == NULL || name[0] != 'c' || name[1] != 'u')
        return;
    int meant = version < xs_cu.version ? version : xs_cu.version;
    enum xs_hook hook = xs_hook_answered(name, *out, meant, flags, &by_version);
    if (hook == XS_HOOK_COUNT || xs_shim_real[hook] == NULL ||
        (by_version && !is_known_form(name, *out, version, flags)))
        return;
    *out = xs_hook_entry(hook);
}

CUresult xs_do_cuGetProcAddress(const char *name, void **out, int version, uint64_t flags)
{
    CUresult r = XS_REAL(cuGetProcAddress)(name, out, version, flags);

    if (r == CUDA_SUCCESS)
        answer(name, out, version, flags);
    return r;
}

CUresult xs_do_cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags,
                                   CUdriverProcAddressQueryResult *status)
{
    CUresult r = XS_REAL(cuGetProcAddress_v2)(name, out, version, flags, status);

    if (r == CUDA_SUCCESS)
        answer(name, out, version, flags);
    return r;
}
