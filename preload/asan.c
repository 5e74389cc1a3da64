/* What AddressSanitizer's runtime asks for its options when it starts, where it is a library (that
 * of a runtime in the program comes before ours, and so do options of the program's own). It ends a
 * process in which another library comes before it; we do, and hand it every call
 * (xs_system_other), so it need not. ASAN_OPTIONS still wins.
 */
#include "base/compiler.h"

// NOLINTNEXTLINE(bugprone-reserved-identifier): the runtime's name for it
const char *__asan_default_options(void);

// NOLINTNEXTLINE(bugprone-reserved-identifier)
XS_EXPORT const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}
