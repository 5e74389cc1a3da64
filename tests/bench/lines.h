/* lines.h - what the traced program (lines.c) and the model of its cores (line_model.c) agree on.
 *
 * The program says what it does by stores to addresses that mean something: in a trace of its
 * memory accesses, all that follows such a store belongs to what the address says.
 */
#ifndef XS_TESTS_BENCH_LINES_H
#define XS_TESTS_BENCH_LINES_H

enum { LINES_THREADS = 64, LINES_LINE = 64 };

/* Where the signs lie; far from what the loader and the allocators use. */
#define LINES_BASE 0x66600000ul
#define LINES_SIZE 0x8000ul

/* What a thread does. Outside (the turn is handed on, the program starts) nothing is looked at. */
enum lines_doing {
    LINES_OUTSIDE,
    LINES_PROGRAM,
    LINES_MALLOC,
    LINES_FREE,
    LINES_WARM,
    LINES_KINDS
};

#endif
