#include "report/cells.h"

void xs_put_duration(struct xs_buf *b, uint64_t ns)
{
    double s = (double)ns / 1e9;

    if (ns > 0 && ns < 1000)
        xs_fmt(b, "%lu ns", (unsigned long)ns);
    else if (ns > 0 && ns < 10000)
        xs_fmt(b, "%.1f us", s * 1e6);
    else if (ns < 1000000)
        xs_fmt(b, "%lu us", (unsigned long)(ns / 1000));
    else if (s < 1)
        xs_fmt(b, "%.1f ms", s * 1e3);
    else if (s < 100)
        xs_fmt(b, "%.2f s", s);
    else if (s < 10000)
        xs_fmt(b, "%.1f s", s);
    else
        xs_fmt(b, "%lu h %02lu min", (unsigned long)(s / 3600), (unsigned long)(s / 60) % 60);
}

void xs_put_number(struct xs_buf *b, uint64_t n)
{
    if (n < 100000)
        xs_fmt(b, "%lu", (unsigned long)n);
    else
        xs_put_count(b, n);
}

void xs_cell_number(struct xs_emit *e, size_t end, uint64_t n)
{
    XS_BUF(cell, 24);

    xs_put_number(&cell, n);
    xs_emit_right(e, end, cell.at);
}

void xs_cell_bytes(struct xs_emit *e, size_t end, uint64_t n)
{
    XS_BUF(cell, 24);

    if (n == XS_UNKNOWN)
        xs_put_char(&cell, '-');
    else
        xs_put_bytes(&cell, n);
    xs_emit_right(e, end, cell.at);
}
