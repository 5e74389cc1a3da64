#include "report/log.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/fmt.h"
#include "policy/config.h"
#include "sys/io.h"

static void write_log(const char *text, size_t len)
{
    const struct xs_value *to = xs_config(XS_KNOB_LOG);
    /* Not simply 2: by now that may be a file of the program's own. */
    int fd = xs_io_stderr();

    if (to->text != NULL && strcmp(to->text, "off") == 0)
        return;
    if (to->text != NULL && strcmp(to->text, "stderr") != 0) {
        XS_BUF(path, 512);
        xs_io_expand(&path, to->text);
        int file = path.truncated ? -1 : xs_io_open_append(path.at);
        if (file >= 0) {
            (void)xs_io_write(file, text, len);
            xs_io_close(file);
            return;
        }
        static bool said;
        if (!said && fd >= 0) {
            XS_BUF(line, 640);
            said = true;
            xs_fmt(&line, "xsigma[%d]: XSIGMA_LOG=%s cannot be written (%s); using stderr\n",
                   (int)getpid(), to->text, strerrorname_np(errno));
            (void)xs_io_write(fd, line.at, line.len);
        }
    }
    if (fd >= 0)
        (void)xs_io_write(fd, text, len);
}

void xs_log(const char *format, ...)
{
    int saved = errno;
    int cancel;
    XS_BUF(line, 640);
    va_list ap;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    xs_fmt(&line, "xsigma[%d]: ", (int)getpid());
    va_start(ap, format);
    xs_vfmt(&line, format, ap);
    va_end(ap);
    if (line.truncated)
        line.len = line.cap - 2;
    /* What a variable or a file holds is anything, and the log may be a terminal. */
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.at[i] < ' ' || line.at[i] == 0x7F)
            line.at[i] = '?';
    line.at[line.len] = '\n';
    write_log(line.at, line.len + 1);
    pthread_setcancelstate(cancel, NULL);
    errno = saved;
}
