/* The C++ operators, straight to malloc instead of through libstdc++.
 *
 * C++ lets a program replace some of them and promises that the others then call the replaced ones;
 * if any object ahead of us defines one, all of ours stand back for the C++ library's. The same
 * library's operator also takes over when memory is out: it knows new handlers and how to throw.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "backend/entry.h"
#include "backend/hardened.h"
#include "backend/sampled.h"
#include "preload/exports.h"
#include "sys/elf.h"
#include "sys/io.h"

/* X(index, symbol) */
#define OPERATORS(X)                                                                               \
    X(NEW, "_Znwm")                                                                                \
    X(NEW_NOTHROW, "_ZnwmRKSt9nothrow_t")                                                          \
    X(NEW_ALIGNED, "_ZnwmSt11align_val_t")                                                         \
    X(NEW_ALIGNED_NOTHROW, "_ZnwmSt11align_val_tRKSt9nothrow_t")                                   \
    X(NEW_ARRAY, "_Znam")                                                                          \
    X(NEW_ARRAY_NOTHROW, "_ZnamRKSt9nothrow_t")                                                    \
    X(NEW_ARRAY_ALIGNED, "_ZnamSt11align_val_t")                                                   \
    X(NEW_ARRAY_ALIGNED_NOTHROW, "_ZnamSt11align_val_tRKSt9nothrow_t")                             \
    X(DELETE, "_ZdlPv")                                                                            \
    X(DELETE_SIZED, "_ZdlPvm")                                                                     \
    X(DELETE_NOTHROW, "_ZdlPvRKSt9nothrow_t")                                                      \
    X(DELETE_ALIGNED, "_ZdlPvSt11align_val_t")                                                     \
    X(DELETE_SIZED_ALIGNED, "_ZdlPvmSt11align_val_t")                                              \
    X(DELETE_ALIGNED_NOTHROW, "_ZdlPvSt11align_val_tRKSt9nothrow_t")                               \
    X(DELETE_ARRAY, "_ZdaPv")                                                                      \
    X(DELETE_ARRAY_SIZED, "_ZdaPvm")                                                               \
    X(DELETE_ARRAY_NOTHROW, "_ZdaPvRKSt9nothrow_t")                                                \
    X(DELETE_ARRAY_ALIGNED, "_ZdaPvSt11align_val_t")                                               \
    X(DELETE_ARRAY_SIZED_ALIGNED, "_ZdaPvmSt11align_val_t")                                        \
    X(DELETE_ARRAY_ALIGNED_NOTHROW, "_ZdaPvSt11align_val_tRKSt9nothrow_t")

enum operator_id {
#define X(id, symbol) OP_##id,
    OPERATORS(X)
#undef X
        OP_COUNT
};

XS_SELDOM_READ static const char symbols[OP_COUNT][40] = {
#define X(id, symbol) [OP_##id] = symbol,
    OPERATORS(X)
#undef X
};

/* Found out by the first operator that runs, which may be in a constructor long before ours. */
enum mode { UNKNOWN, DIRECT, REPLACED, HARDENED };
static _Atomic int mode;

XS_COLD static int find_mode(void)
{
    const char *object;
    /* With a malloc of its own the program expects new to call that one; a sanitizer's runtime has
     * a new beside its malloc, and looks whether delete gets its blocks. */
    bool other = xs_elf_before("malloc", &object) != NULL || xs_system_other(&object) != NULL;
    int found = other ? REPLACED : DIRECT;

    for (unsigned i = 0; i < OP_COUNT; i++)
        if (xs_elf_before(symbols[i], &object) != NULL)
            found = REPLACED;
    if (found == DIRECT && xs_hardened_is_on())
        found = HARDENED;
    atomic_store_explicit(&mode, found, memory_order_relaxed);
    return found;
}

void xs_new_harden(void)
{
    if (xs_hardened_is_on())
        (void)find_mode();
}

XS_INLINE bool is_direct(void)
{
    return XS_LIKELY(atomic_load_explicit(&mode, memory_order_relaxed) == DIRECT);
}

/* Every operator takes at most three arguments, all in integer registers. */
typedef void *any_operator(uintptr_t, uintptr_t, uintptr_t);

XS_COLD static void *next_operator(enum operator_id id, uintptr_t a, uintptr_t b, uintptr_t c)
{
    static const char message[] = "xsigma: operator new found no memory, and no C++ library\n";
    void *next = xs_elf_next(symbols[id]);

    if (next == NULL) {
        (void)xs_io_write(2, message, sizeof(message) - 1);
        abort();
    }
    return ((any_operator *)(uintptr_t)next)(a, b, c);
}

/* ---- operators that say what they are --------------------------------------------------- */

/* In the order of OPERATORS: plain, array, and either with an alignment. */
static enum xs_block_kind kind_of(enum operator_id id)
{
    switch (id) {
    case OP_NEW:
    case OP_NEW_NOTHROW:
    case OP_DELETE:
    case OP_DELETE_SIZED:
    case OP_DELETE_NOTHROW:
        return XS_BLOCK_NEW;
    case OP_NEW_ALIGNED:
    case OP_NEW_ALIGNED_NOTHROW:
    case OP_DELETE_ALIGNED:
    case OP_DELETE_SIZED_ALIGNED:
    case OP_DELETE_ALIGNED_NOTHROW:
        return XS_BLOCK_NEW_ALIGNED;
    case OP_NEW_ARRAY_ALIGNED:
    case OP_NEW_ARRAY_ALIGNED_NOTHROW:
    case OP_DELETE_ARRAY_ALIGNED:
    case OP_DELETE_ARRAY_SIZED_ALIGNED:
    case OP_DELETE_ARRAY_ALIGNED_NOTHROW:
        return XS_BLOCK_NEW_ARRAY_ALIGNED;
    default:
        return XS_BLOCK_NEW_ARRAY;
    }
}

static bool has_size(enum operator_id id)
{
    return id == OP_DELETE_SIZED || id == OP_DELETE_SIZED_ALIGNED || id == OP_DELETE_ARRAY_SIZED ||
           id == OP_DELETE_ARRAY_SIZED_ALIGNED;
}

/* What the operators below do not see to themselves: the first call, blocks that are checked, the
 * next library's operators, no memory. Arguments as the operator had them. Not XS_COLD: the
 * compiler would take the operators for cold, too. */
__attribute__((noinline)) static void *other_operator(enum operator_id id, uintptr_t a, uintptr_t b,
                                                      uintptr_t c, uintptr_t pc)
{
    enum xs_block_kind kind = kind_of(id);
    int m = atomic_load_explicit(&mode, memory_order_relaxed);
    void *p;

    if (m == UNKNOWN)
        m = find_mode();
    else if (m == DIRECT)
        m = REPLACED; /* it was tried */
    if (m == REPLACED)
        return next_operator(id, a, b, c);
    if (id >= OP_DELETE) {
        p = (void *)a; // NOLINT
        if (m == DIRECT) {
            xs_entry_free(p);
            return NULL;
        }
        xs_sampled_forget(p);
        xs_hardened_free(p, kind, has_size(id) ? b : SIZE_MAX, pc);
        return NULL;
    }
    bool is_aligned = kind == XS_BLOCK_NEW_ALIGNED || kind == XS_BLOCK_NEW_ARRAY_ALIGNED;
    p = is_aligned ? xs_memalign(b, a) : xs_hot.entry.malloc(a);
    if (p == NULL)
        return next_operator(id, a, b, c);
    return m == HARDENED ? xs_hardened_mark(p, kind, pc) : p;
}

#define PC ((uintptr_t)__builtin_return_address(0))

/* The rest of a new that the own core's magazines do not serve at once. */
XS_INLINE void *new_refilled(enum operator_id id, size_t size, size_t place, struct xs_heap *h)
{
    void *p = xs_heap_refill(size, place, h);

    return XS_LIKELY(p != NULL) ? p : next_operator(id, size, 0, 0);
}

/* A function of its own, so that new needs no frame; for the same reason it asks for PC, which is
 * new's caller because new ends in a jump to here. */
__attribute__((noinline)) static void *new_elsewhere(enum operator_id id, size_t size)
{
    void *p = is_direct() ? xs_hot.entry.malloc(size) : NULL;

    return XS_LIKELY(p != NULL) ? p : other_operator(id, size, 0, 0, PC);
}

XS_INLINE void *new_plain(enum operator_id id, size_t size, const void *nothrow)
{
    void *p = XS_LIKELY(is_direct()) ? xs_entry_malloc(size) : NULL;

    return XS_LIKELY(p != NULL) ? p : other_operator(id, size, (uintptr_t)nothrow, 0, PC);
}

XS_INLINE void *new_aligned(enum operator_id id, size_t size, size_t align, const void *nothrow)
{
    void *p = XS_LIKELY(is_direct()) ? xs_memalign(align, size) : NULL;

    return XS_LIKELY(p != NULL) ? p : other_operator(id, size, align, (uintptr_t)nothrow, PC);
}

/* The C names are free to choose: the assembler's are what C++ calls. */
#define OPERATOR(type, name, symbol, ...)                                                          \
    XS_EXPORT type name(__VA_ARGS__) __asm__(symbol) XS_HOT;                                       \
    type name(__VA_ARGS__)

#define NEW(name, symbol, id)                                                                      \
    __attribute__((noinline)) static void *name##_refilled(size_t size, size_t place,              \
                                                           struct xs_heap *h)                      \
    {                                                                                              \
        return new_refilled(id, size, place, h);                                                   \
    }                                                                                              \
    OPERATOR(void *, name, symbol, size_t size)                                                    \
    {                                                                                              \
        if (XS_LIKELY(is_direct() && size < xs_hot.core_below))                                    \
            return xs_heap_malloc_small_or(size, name##_refilled);                                 \
        return new_elsewhere(id, size);                                                            \
    }
#define NEW_NOTHROW(name, symbol, id)                                                              \
    OPERATOR(void *, name, symbol, size_t size, const void *nothrow)                               \
    {                                                                                              \
        return new_plain(id, size, nothrow);                                                       \
    }
#define NEW_ALIGNED(name, symbol, id)                                                              \
    OPERATOR(void *, name, symbol, size_t size, size_t align)                                      \
    {                                                                                              \
        return new_aligned(id, size, align, NULL);                                                 \
    }
#define NEW_ALIGNED_NOTHROW(name, symbol, id)                                                      \
    OPERATOR(void *, name, symbol, size_t size, size_t align, const void *nothrow)                 \
    {                                                                                              \
        return new_aligned(id, size, align, nothrow);                                              \
    }
#define DELETE(name, symbol, id)                                                                   \
    OPERATOR(void, name, symbol, void *p)                                                          \
    {                                                                                              \
        if (XS_LIKELY(is_direct()))                                                                \
            xs_entry_free(p);                                                                      \
        else                                                                                       \
            (void)other_operator(id, (uintptr_t)p, 0, 0, PC);                                      \
    }
#define DELETE_2(name, symbol, id)                                                                 \
    OPERATOR(void, name, symbol, void *p, uintptr_t a)                                             \
    {                                                                                              \
        if (XS_LIKELY(is_direct()))                                                                \
            xs_entry_free(p);                                                                      \
        else                                                                                       \
            (void)other_operator(id, (uintptr_t)p, a, 0, PC);                                      \
    }
#define DELETE_3(name, symbol, id)                                                                 \
    OPERATOR(void, name, symbol, void *p, uintptr_t a, uintptr_t b)                                \
    {                                                                                              \
        if (XS_LIKELY(is_direct()))                                                                \
            xs_entry_free(p);                                                                      \
        else                                                                                       \
            (void)other_operator(id, (uintptr_t)p, a, b, PC);                                      \
    }

NEW(xs_new, "_Znwm", OP_NEW)
NEW_NOTHROW(xs_new_nothrow, "_ZnwmRKSt9nothrow_t", OP_NEW_NOTHROW)
NEW_ALIGNED(xs_new_aligned, "_ZnwmSt11align_val_t", OP_NEW_ALIGNED)
NEW_ALIGNED_NOTHROW(xs_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t",
                    OP_NEW_ALIGNED_NOTHROW)
NEW(xs_new_array, "_Znam", OP_NEW_ARRAY)
NEW_NOTHROW(xs_new_array_nothrow, "_ZnamRKSt9nothrow_t", OP_NEW_ARRAY_NOTHROW)
NEW_ALIGNED(xs_new_array_aligned, "_ZnamSt11align_val_t", OP_NEW_ARRAY_ALIGNED)
NEW_ALIGNED_NOTHROW(xs_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t",
                    OP_NEW_ARRAY_ALIGNED_NOTHROW)
DELETE(xs_delete, "_ZdlPv", OP_DELETE)
DELETE_2(xs_delete_sized, "_ZdlPvm", OP_DELETE_SIZED)
DELETE_2(xs_delete_nothrow, "_ZdlPvRKSt9nothrow_t", OP_DELETE_NOTHROW)
DELETE_2(xs_delete_aligned, "_ZdlPvSt11align_val_t", OP_DELETE_ALIGNED)
DELETE_3(xs_delete_sized_aligned, "_ZdlPvmSt11align_val_t", OP_DELETE_SIZED_ALIGNED)
DELETE_3(xs_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t",
         OP_DELETE_ALIGNED_NOTHROW)
DELETE(xs_delete_array, "_ZdaPv", OP_DELETE_ARRAY)
DELETE_2(xs_delete_array_sized, "_ZdaPvm", OP_DELETE_ARRAY_SIZED)
DELETE_2(xs_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", OP_DELETE_ARRAY_NOTHROW)
DELETE_2(xs_delete_array_aligned, "_ZdaPvSt11align_val_t", OP_DELETE_ARRAY_ALIGNED)
DELETE_3(xs_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", OP_DELETE_ARRAY_SIZED_ALIGNED)
DELETE_3(xs_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t",
         OP_DELETE_ARRAY_ALIGNED_NOTHROW)
