/* base/compiler.h - the GNU C attributes and small idioms that the whole tree uses.
 * Context: anywhere; no code, no state.
 */
#ifndef XS_BASE_COMPILER_H
#define XS_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GLIBC__) && __GLIBC__ * 1000 + __GLIBC_MINOR__ < 2034
#error "XSigma needs glibc 2.34 or later: Debian 12, Ubuntu 22.04"
#endif

#define XS_LIKELY(x)   __builtin_expect(!!(x), 1)
#define XS_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define XS_INLINE      static inline __attribute__((always_inline))
#define XS_COLD        __attribute__((cold, noinline))
/* On its own cache line, and never taken for cold because its slow end is. */
#define XS_HOT __attribute__((hot, aligned(64)))
/* The same of a function that stays where it is: its speed does not hang on what lies before it. */
#define XS_LINE     __attribute__((aligned(64)))
#define XS_NORETURN __attribute__((noreturn))
#define XS_UNUSED   __attribute__((unused))
#define XS_EXPORT   __attribute__((visibility("default")))
/* On extern data: reached directly instead of through the GOT. */
#define XS_HIDDEN       __attribute__((visibility("hidden")))
#define XS_FORMAT(f, a) __attribute__((format(printf, f, a)))
/* On zeros that every process writes to: they fill the page that the other variables leave half
 * empty. */
#define XS_BUSY __attribute__((section(".data.busy")))
/* On what fills all but the end of its pages with zeros that are seldom looked at. One object alone
 * profits. */
#define XS_FIRST __attribute__((section(".bss.first"), aligned(4096)))
/* On data of many pages, of which a small process writes to one or none: it lies behind all that
 * every process writes to, so that this shares few pages. */
#define XS_SELDOM __attribute__((section(".bss.seldom")))
/* The same for what has only its head written to, by every process: right behind what is small. One
 * object alone profits. */
#define XS_HEAD __attribute__((section(".bss.head")))
/* On what changes with memory that is taken and given back: beside that head, and on no page with
 * what is written to at start alone, so that it costs a child of fork one page and no more. */
#define XS_BY_HEAD __attribute__((section(".bss.by-head")))
/* The same for the first one. */
#define XS_AT_HEAD __attribute__((section(".bss.at-head"), aligned(4096)))
/* On what is written to in the child of a fork: beside the first records of slabs, so that it costs
 * a child that allocates no page more. */
#define XS_FORKED XS_BUSY
/* On what hardly any process writes to. */
#define XS_UNLIKELY_DATA __attribute__((section(".bss.unlikely")))
/* On what is large and begins with something else than zeros, in its first bytes alone: behind all
 * else of this kind. */
#define XS_LAST __attribute__((section(".data.rest")))
/* The same, where hardly any process writes to it, or it is whole pages. */
#define XS_APART __attribute__((section(".data.seldom")))
/* On constants that hardly any process looks at. */
#define XS_SELDOM_READ __attribute__((section(".seldom.rodata")))

/* The fast paths may use x86-64's conditional moves, of which a sanitizer would see nothing. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define XS_HAS_CMOV 1
#else
#define XS_HAS_CMOV 0
#endif

#define XS_COUNT_OF(arr) (sizeof(arr) / sizeof((arr)[0]))

/* Not written to if it is so already: in the child of a fork each page that is costs one more. */
#define XS_CHANGE_TO(place, value)                                                                 \
    do {                                                                                           \
        if ((place) != (value))                                                                    \
            (place) = (value);                                                                     \
    } while (0)

/* Two shared lines: adjacent-line prefetch on x86-64 pulls 128 bytes. */
#define XS_NO_SHARE 128

/* Per-thread state must be reached without __tls_get_addr, which may itself allocate. */
#define XS_TLS _Thread_local __attribute__((tls_model("initial-exec")))
/* On the one whose place scripts/make-link-script sees to. */
#define XS_TLS_FIRST __attribute__((section(".tdata.first")))

/* The largest size any allocation function accepts, as in glibc. */
#define XS_SIZE_MAX_REQUEST ((size_t)PTRDIFF_MAX)

/* The cache line is about to be written, and another core has it: to read it first would fetch it
 * twice. */
XS_INLINE void xs_prefetch_write(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1);
#endif
}

#endif
