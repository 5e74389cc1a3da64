/* libdownward.so - before main it has used 24 KiB of the stack, all of which is in memory then. */
#include <string.h>

static __attribute__((noinline)) void go_deep(void)
{
    char room[24 << 10];

    memset(room, 1, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}

__attribute__((constructor)) static void start(void)
{
    go_deep();
}
