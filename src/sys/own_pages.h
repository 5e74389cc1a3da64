/* sys/own_pages.h - pages of the library's own file that this process has no more use for.
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

#endif
