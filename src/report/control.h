/* report/control.h - what `xsigma gpu` asks of this process is answered here.
 *
 * The record file is made at the first slow call of the GPU core, so that a process without CUDA
 * has none, and looked at in later ones: one load when nobody asks. No signal, no thread.
 *
 * Units:   bytes.
 * Owns:    the process's record file (sys/record.h).
 * Threads: any; one of them answers, the others go on.
 * Context: look: inside cudaMalloc and its kin. stop: exit handlers, _exit. Allocates: pages.
 * Errors:  without a file there is no control; one line says why.
 */
#ifndef XS_REPORT_CONTROL_H
#define XS_REPORT_CONTROL_H

#include "base/compiler.h"

void xs_control_start(void); /* the constructor's */
void xs_control_stop(void);  /* the process ends: the file goes */
void xs_control_fork_child(void);
/* A filter of system calls is about to be set: nothing more is opened or removed. */
void xs_control_keep_off(void);

#endif
