#include "sys/die.h"

#include <stdlib.h>

#include "base/fmt.h"
#include "sys/io.h"

void xs_die(const char *what, const void *p)
{
    XS_BUF(line, 160);

    xs_fmt(&line, "xsigma: %s: 0x%lx\n", what, (unsigned long)(uintptr_t)p);
    int fd = xs_io_stderr();
    if (fd >= 0)
        (void)xs_io_write(fd, line.at, line.len);
    abort();
}
