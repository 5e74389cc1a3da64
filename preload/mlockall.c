/* mlockall: from then on the kernel refuses to take pages back, and mimalloc's attempts to give
 * some leave an error number behind in free, which must keep it. */
#include <errno.h>
#include <sys/mman.h>

#include "policy/select.h"
#include "preload/lifecycle.h"
#include "sys/elf.h"

XS_EXPORT int mlockall(int flags)
{
    int (*next)(int) = (int (*)(int))(uintptr_t)xs_elf_next("mlockall");

    if (next == NULL) {
        errno = ENOSYS;
        return -1;
    }
    int rc = next(flags);
    if (rc == 0 && !xs_is_bypassed())
        xs_policy_keep_errno();
    return rc;
}
