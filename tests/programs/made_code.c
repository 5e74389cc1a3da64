/* A block is allocated and freed with code on the stack that the program made and has taken away
 * again, as runtimes that compile while they run do when they end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__x86_64__)
/* sub $8, %rsp; call *%rdi; add $8, %rsp; ret */
static const unsigned char code[] = {0x48, 0x83, 0xEC, 0x08, 0xFF, 0xD7,
                                     0x48, 0x83, 0xC4, 0x08, 0xC3};
#else
/* stp x29, x30, [sp, -16]!; blr x0; ldp x29, x30, [sp], 16; ret */
static const unsigned code[] = {0xA9BF7BFD, 0xD63F0000, 0xA8C17BFD, 0xD65F03C0};
#endif

#define PAGE 65536

static char *made;

static void take_away(void)
{
    char *kept = malloc(100);

    if (mprotect(made, PAGE, PROT_NONE) != 0)
        exit(1);
    for (int i = 0; i < 100; i++)
        free(malloc((size_t)i * 50));
    free(kept);
    if (mprotect(made, PAGE, PROT_READ | PROT_EXEC) != 0)
        exit(1);
}

int main(void)
{
    made = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return 1;
    memcpy(made, code, sizeof(code));
    __builtin___clear_cache(made, made + sizeof(code));
    if (mprotect(made, PAGE, PROT_READ | PROT_EXEC) != 0)
        return 1;
    ((void (*)(void (*)(void)))(void *)made)(take_away);
    puts("called from made code");
    return 0;
}
