/* sys/own_pages.h - pages that this process has no more use for after start.
 * Threads: any. Context: anywhere. Allocates: never.
 */
#ifndef XS_SYS_OWN_PAGES_H
#define XS_SYS_OWN_PAGES_H

#include "base/compiler.h"

/* Code and constants that are not looked at after start leave this process's page table; they lie
 * in the kernel's cache of the file and come back when they are touched. They stay where one of
 * the pages differs from the file: a debugger's breakpoint, a probe or a patch is in it. A process
 * that counts goes on to need more. */
void xs_own_pages_give_back(bool counts);

/* One page of the library is neither to be read nor written from now on: for processes that this
 * one starts, who look where it has the library (xs_proc_parent_maps). */
void xs_own_pages_mark(void);

/* What the dynamic linker and the constructors before this used of the first thread's stack, below
 * the caller's frame: main seldom goes as deep. On any other stack nothing is done. */
void xs_own_stack_give_back(void);

#endif
