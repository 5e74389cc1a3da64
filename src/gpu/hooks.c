#include "gpu/hooks.h"

/* Weak: the shim's own definition takes its place where the shim is linked in. */
__attribute__((weak)) bool (*xs_cu_loader)(void);
__attribute__((weak)) void (*xs_cu_shim_forked)(void);
__attribute__((weak)) void (*xs_gpu_says_off)(const char *why);

void (*_Atomic xs_gpu_control)(void);
