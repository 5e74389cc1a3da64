/* sample/walk.h - who called malloc, by the rules of sample/cfi.h: what is remembered of a place in
 * the code costs a few dozen instructions a frame, where libunwind takes a thousand.
 * Units:   addresses that are returned to, less 1, the caller of malloc first.
 * Owns:    a table of what was found out.
 * Threads: one at a time, except where marked [any].
 * Context: a sample; all signals are blocked. Allocates: never.
 * Errors:  0 = somewhere there is no rule, and libunwind may know more.
 */
#ifndef XS_SAMPLE_WALK_H
#define XS_SAMPLE_WALK_H

#include "sample/sites.h"

uint32_t xs_walk(uint64_t frame[XS_SITE_FRAMES]);

/* What a walk goes by. */
struct xs_registers {
    uintptr_t ip;
    uintptr_t sp;
    uintptr_t fp;
};

/* Of the function that this stands in; they serve until it returns. */
static inline __attribute__((always_inline)) struct xs_registers xs_registers_here(void)
{
    struct xs_registers r;

#if defined(__x86_64__)
    __asm__ volatile("lea 0(%%rip), %0\n mov %%rsp, %1\n mov %%rbp, %2"
                     : "=&r"(r.ip), "=&r"(r.sp), "=&r"(r.fp));
#elif defined(__aarch64__)
    __asm__ volatile("adr %0, .\n mov %1, sp\n mov %2, x29"
                     : "=&r"(r.ip), "=&r"(r.sp), "=&r"(r.fp));
#else
#error "write it for this processor"
#endif
    return r;
}

/* The addresses that are returned to themselves, at most so many, seen from there. */
uint32_t xs_walk_addresses(const struct xs_registers *from, uintptr_t pc[], uint32_t most);

/* The same by what is remembered alone; something was not: XS_WALK_UNKNOWN. [any] */
uint32_t xs_walk_known(const struct xs_registers *from, uintptr_t pc[], uint32_t most);
#define XS_WALK_UNKNOWN UINT32_MAX

/* What is remembered may be of objects that are gone, or bear other numbers. */
void xs_walk_forget(void);

/* Whether the word there may be read, by asking the kernel. Changes errno. */
bool xs_walk_can_read(uintptr_t at);

#endif
