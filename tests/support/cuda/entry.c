/* entry.c - the way into and out of every call: counters, injected errors, the resolver. */
#include "state.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake fake = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
    .devices = 1,
    .bytes_each = (size_t)4 << 30,
    .version = 13000,
    .granule = 512,
};

/* What a debugger of device code writes to. */
__attribute__((visibility("default"))) unsigned cudbgIpcFlag;

struct call {
    const char *name, *symbol;
    int version, per_thread;
    void (*function)(void);
    unsigned long calls, resolved;
    unsigned long chances, fail_at, fail_every; /* chances: calls that might have been failed */
    CUresult fail_code;
};
static struct call calls[] = {
#define XS_CUDA_CALL(name, version, per_thread, symbol, parameters)                                \
    {#name, #symbol, version, per_thread, (void (*)(void))symbol, 0, 0, 0, 0, 0, 0},
#include "sys/cuda_calls.h"
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };
static unsigned long all_calls;
static unsigned long any_in; /* calls until one fails, whichever it is; 0: none */
static CUresult any_code;
static __thread unsigned spared;
_Atomic unsigned long fk_generation = 1, fk_quick_calls;

/* A symbol with two rows, under two names, counts in the first. */
static int number_of(const char *symbol)
{
    for (int i = 0; i < CALLS; i++)
        if (strcmp(calls[i].symbol, symbol) == 0)
            return i;
    return -1;
}

static struct call *call_of(const char *symbol)
{
    int i = number_of(symbol);
    if (i < 0) {
        fprintf(stderr, "fake driver: no such call: %s\n", symbol);
        abort();
    }
    return &calls[i];
}

void fk_changed(void)
{
    atomic_fetch_add_explicit(&fk_generation, 1, memory_order_relaxed);
}

/* A call to be failed is counted there, and found. */
static bool to_be_failed(struct call *c)
{
    if (spared != 0)
        return false;
    c->chances++;
    if (c->fail_at == c->chances)
        return true;
    return strcmp(c->symbol, "cuCtxPopCurrent_v2") != 0 && any_in != 0 && --any_in == 0;
}

bool fk_quick_allowed(void)
{
    const struct call *c = &calls[number_of("cuCtxGetCurrent")];
    return !fake.stub && fake.log == NULL && fake.started && c->fail_at == 0 && any_in == 0;
}

CUresult fk_enter(const char *symbol, int *number, unsigned flags)
{
    pthread_mutex_lock(&fake.lock);
    if (*number < 0)
        *number = number_of(symbol);
    struct call *c = &calls[*number];
    c->calls++;
    all_calls++;
    if (fake.log != NULL) {
        fprintf(fake.log, "%s\n", symbol);
        fflush(fake.log);
    }
    CUresult r = CUDA_SUCCESS;
    CUcontext ctx = NULL;
    if (fake.stub)
        r = CUDA_ERROR_STUB_LIBRARY;
    else if (to_be_failed(c)) {
        r = c->fail_at == c->chances ? c->fail_code : any_code;
        if (c->fail_at == c->chances)
            c->fail_at = c->fail_every != 0 ? c->chances + c->fail_every : 0;
    } else if (!(flags & ANY_TIME) && (!fake.started || fake.pid != getpid()))
        r = CUDA_ERROR_NOT_INITIALIZED; /* and so in the child of a fork */
    else if ((flags & NEEDS_CONTEXT) && (ctx = fk_current()) == NULL)
        r = CUDA_ERROR_INVALID_CONTEXT;
    else if (ctx != NULL && ctx->sticky != CUDA_SUCCESS)
        r = ctx->sticky;
    else if (flags & UNSAFE)
        r = fk_capture_refuses();
    if (r != CUDA_SUCCESS)
        pthread_mutex_unlock(&fake.lock);
    return r;
}

CUresult fk_leave(CUresult r)
{
    pthread_mutex_unlock(&fake.lock);
    return r;
}

/* A thread's default stream goes with it, as the driver has it; its work goes on. */
static pthread_key_t thread_key;

static void thread_ends(void *thread)
{
    pthread_mutex_lock(&fake.lock);
    for (unsigned i = 0; i < fake.nslots; i++) {
        CUstream s = fake.slot[i].stream;
        if (s != NULL && s->thread == (unsigned long)(uintptr_t)thread && s->capture == NULL)
            fk_stream_end(s);
    }
    pthread_mutex_unlock(&fake.lock);
}

unsigned long fk_thread(void)
{
    static _Atomic unsigned long last;
    static __thread unsigned long mine;
    if (mine == 0) {
        mine = ++last;
        pthread_setspecific(thread_key, (void *)(uintptr_t)mine);
    }
    return mine;
}

void fk_violation(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(fake.last_violation, sizeof fake.last_violation, format, args);
    va_end(args);
    fake.violations++;
    fprintf(stderr, "fake driver: violation: %s\n", fake.last_violation);
    if (fake.violation_way == FAKE_ABORT)
        abort();
}

/* ---- the resolver ---- */

/* The youngest form that the caller's version and the driver know. NULL is left out of what
 * NVIDIA's driver does: it dies. */
static CUresult resolve(const char *name, void **out, int version, uint64_t flags,
                        CUdriverProcAddressQueryResult *status)
{
    if (out == NULL || name == NULL || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM + 1)
        return CUDA_ERROR_INVALID_VALUE;
    if (fake.version >= 13000 && version > fake.version) /* older drivers take it for their own */
        return CUDA_ERROR_INVALID_VALUE;
    int per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    struct call *best = NULL;
    *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    for (struct call *c = calls; c < calls + CALLS; c++) {
        if (strcmp(c->name, name) != 0 || c->version > fake.version || c->per_thread > per_thread)
            continue;
        if (c->version > version) {
            if (best == NULL)
                *status = CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
            continue;
        }
        if (best == NULL || c->per_thread > best->per_thread ||
            (c->per_thread == best->per_thread && c->version > best->version))
            best = c;
    }
    if (best != NULL) {
        *status = CU_GET_PROC_ADDRESS_SUCCESS;
        *out = (void *)best->function;
        call_of(best->symbol)->resolved++;
    }
    return CUDA_SUCCESS;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, uint64_t flags)
{
    ENTER(ANY_TIME);
    CUdriverProcAddressQueryResult status;
    CUresult r = resolve(name, out, version, flags, &status);
    LEAVE(r == CUDA_SUCCESS && status != CU_GET_PROC_ADDRESS_SUCCESS ? CUDA_ERROR_NOT_FOUND : r);
}

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult *status)
{
    ENTER(ANY_TIME);
    CUdriverProcAddressQueryResult seen;
    status = status != NULL ? status : &seen;
    CUresult r = resolve(name, out, version, flags, status);
    if (r == CUDA_SUCCESS && *status != CU_GET_PROC_ADDRESS_SUCCESS)
        *out = NULL; /* the older call leaves it as it was */
    LEAVE(r);
}

CUresult cuGetExportTable(const void **table, const CUuuid *id)
{
    ENTER(ANY_TIME);
    (void)id;
    if (table == NULL)
        LEAVE(CUDA_ERROR_INVALID_VALUE);
    *table = NULL;
    LEAVE(CUDA_ERROR_NOT_FOUND); /* undocumented tables are not imitated */
}

/* ---- control ---- */

void fake_reset(void)
{
    pthread_mutex_lock(&fake.lock);
    fk_captures_reset();
    fk_streams_reset();
    fk_lives_reset();
    fk_memory_reset();
    fk_contexts_reset();
    for (struct call *c = calls; c < calls + CALLS; c++)
        c->calls = c->resolved = c->chances = c->fail_at = c->fail_every = 0;
    all_calls = any_in = 0;
    atomic_store_explicit(&fk_quick_calls, 0, memory_order_relaxed);
    fk_changed();
    fake.violations = 0;
    fake.last_violation[0] = 0;
    fake.started = false;
    pthread_mutex_unlock(&fake.lock);
}

#define SETTING(statement)                                                                         \
    do {                                                                                           \
        pthread_mutex_lock(&fake.lock);                                                            \
        statement;                                                                                 \
        pthread_mutex_unlock(&fake.lock);                                                          \
    } while (0)

void fake_set_devices(int count, size_t bytes_each)
{
    SETTING({
        fake.devices = count < FAKE_DEVICES ? count : FAKE_DEVICES;
        fake.bytes_each = bytes_each;
    });
}
void fake_set_version(int version)
{
    SETTING(fake.version = version);
}
void fake_set_granule(size_t bytes)
{
    SETTING(fake.granule = bytes);
}
void fake_set_free(enum fake_free way)
{
    SETTING(fake.free_way = way);
}
void fake_set_auto(bool on)
{
    SETTING(fake.autonomous = on);
}
void fake_on_violation(enum fake_violation what)
{
    SETTING(fake.violation_way = what);
}

unsigned fake_violations(void)
{
    unsigned n;
    SETTING(n = fake.violations);
    return n;
}

const char *fake_last_violation(void)
{
    return fake.last_violation;
}

static void fail(const char *symbol, unsigned n, unsigned every, CUresult code)
{
    struct call *c = call_of(symbol);
    SETTING({
        c->fail_at = n != 0 ? c->chances + n : 0;
        c->fail_every = every;
        c->fail_code = code;
        fk_changed();
    });
}

void fake_fail(const char *symbol, unsigned n, CUresult code)
{
    fail(symbol, n, 0, code);
}

void fake_fail_every(const char *symbol, unsigned n, CUresult code)
{
    fail(symbol, n, n, code);
}

void fake_fail_any(unsigned n, CUresult code)
{
    SETTING({
        any_in = n;
        any_code = code;
        fk_changed();
    });
}

void fake_spare(bool on)
{
    spared = on ? spared + 1 : spared - 1;
}

void fake_poison(CUresult code)
{
    SETTING({
        for (int i = 0; i < fake.devices; i++)
            fake.device[i].primary.sticky = code;
        for (int i = 0; i < FAKE_CONTEXTS; i++)
            fake.contexts[i].sticky = code;
    });
}

unsigned long fake_calls(const char *symbol)
{
    unsigned long n;
    struct call *c = call_of(symbol);
    SETTING({
        n = c->calls;
        if (strcmp(symbol, "cuCtxGetCurrent") == 0)
            n += atomic_load_explicit(&fk_quick_calls, memory_order_relaxed);
    });
    return n;
}

unsigned long fake_calls_all(void)
{
    unsigned long n;
    SETTING(n = all_calls + atomic_load_explicit(&fk_quick_calls, memory_order_relaxed));
    return n;
}

unsigned long fake_resolved(const char *symbol)
{
    unsigned long n;
    struct call *c = call_of(symbol);
    SETTING(n = c->resolved);
    return n;
}

/* ---- the environment ---- */

static void fail_by_text(const char *text)
{
    char symbol[64];
    unsigned n, code;
    int used;
    while (sscanf(text, "%63[^:]:%u:%u%n", symbol, &n, &code, &used) == 3) {
        fake_fail(symbol, n, code);
        text += used;
        text += *text == ',';
    }
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *v;
    pthread_key_create(&thread_key, thread_ends);
    pthread_atfork(NULL, NULL, fk_changed);
    if ((v = getenv("FAKE_CUDA_DEVICES")) != NULL)
        fake_set_devices(atoi(v), fake.bytes_each);
    if ((v = getenv("FAKE_CUDA_MEMORY")) != NULL)
        fake_set_devices(fake.devices, strtoull(v, NULL, 0));
    if ((v = getenv("FAKE_CUDA_VERSION")) != NULL)
        fake.version = atoi(v);
    if ((v = getenv("FAKE_CUDA_FAIL")) != NULL)
        fail_by_text(v);
    fake.autonomous = getenv("FAKE_CUDA_AUTO") != NULL;
    fake.stub = getenv("FAKE_CUDA_STUB") != NULL;
    if ((v = getenv("FAKE_CUDA_LOG")) != NULL)
        fake.log = fopen(v, "ae");
}

__attribute__((destructor)) static void write_counts(void)
{
    pthread_key_delete(thread_key);
    const char *path = getenv("FAKE_CUDA_COUNTS");
    FILE *f = path != NULL ? fopen(path, "we") : NULL;
    if (f == NULL)
        return;
    calls[number_of("cuCtxGetCurrent")].calls += fk_quick_calls;
    for (struct call *c = calls; c < calls + CALLS; c++)
        if (c->calls != 0)
            fprintf(f, "%s %lu\n", c->symbol, c->calls);
    fclose(f);
}
