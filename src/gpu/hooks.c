#include "gpu/hooks.h"

/* Weak: the shim's own definition takes its place where the shim is linked in. */
__attribute__((weak)) bool (*xs_cu_loader)(void);

void (*_Atomic xs_gpu_control)(void);
