/* lent.c REFUSE - allocates in all ways, with 1 while mmap, which is the program's own, refuses
 * what a heap would grow by; each block is written to and looked at. Prints how many there were. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 600, LARGEST = 120000 };

static int is_refused;

void *mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
    if (is_refused && size >= 65536) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, prot, flags, fd, offset);
}

static struct {
    unsigned char *p;
    size_t size;
} block[COUNT];

static void die(const char *what, int i)
{
    printf("block %d of %zu bytes: %s\n", i, block[i].size, what);
    exit(1);
}

static void look(int i)
{
    for (size_t k = 0; k < block[i].size; k++)
        if (block[i].p[k] != (unsigned char)(i + 1))
            die("not as it was left", i);
}

static void check(int i, size_t align, int is_zero)
{
    unsigned char *p = block[i].p;

    if (p == NULL)
        die(strerror(errno), i);
    if ((uintptr_t)p % align != 0)
        die("not aligned", i);
    if (malloc_usable_size(p) < block[i].size)
        die("not of that size", i);
    for (size_t k = 0; is_zero && k < block[i].size; k++)
        if (p[k] != 0)
            die("not zeroed", i);
    memset(p, i + 1, malloc_usable_size(p));
}

static size_t size_of(int i)
{
    size_t r = (size_t)i * 2654435761u % 1000003;

    return i % 10 == 0 ? r % LARGEST + 1 : r % 700 + 1;
}

static void get(int i)
{
    size_t align = 16;

    block[i].size = size_of(i);
    switch (i % 4) {
    case 0:
        block[i].p = malloc(block[i].size);
        break;
    case 1:
        block[i].p = calloc(1, block[i].size);
        break;
    case 2:
        align = (size_t)32 << i % 5;
        block[i].p = aligned_alloc(align, block[i].size);
        break;
    default:
        align = 4096;
        if (posix_memalign((void **)&block[i].p, align, block[i].size) != 0)
            block[i].p = NULL;
    }
    check(i, align, i % 4 == 1);
}

static void change(int i, size_t size)
{
    size_t kept = block[i].size < size ? block[i].size : size;
    unsigned char *p = realloc(block[i].p, size);

    if (p == NULL)
        die("not reallocated", i);
    for (size_t k = 0; k < kept; k++)
        if (p[k] != (unsigned char)(i + 1))
            die("not copied", i);
    block[i].p = p;
    block[i].size = size;
    check(i, 16, 0);
}

int main(int argc, char **argv)
{
    (void)setvbuf(stdout, NULL, _IONBF, 0);
    for (int i = 0; i < COUNT / 6; i++)
        get(i);
    is_refused = argc > 1 && atoi(argv[1]);
    for (int i = COUNT / 6; i < COUNT; i++)
        get(i);
    for (int i = 0; i < COUNT; i += 3)
        change(i, size_of(i) * 3 / 2 + 1);
    for (int i = 0; i < COUNT; i += 6)
        change(i, size_of(i) / 4 + 1);
    pid_t child = fork();
    for (int i = 0; i < COUNT; i++) {
        look(i);
        free(block[i].p);
        if (i % 2 == 0) {
            get(i);
            free(block[i].p);
        }
    }
    if (child == 0)
        _exit(0);
    int status = 1;
    if (waitpid(child, &status, 0) != child || status != 0)
        printf("the child: %d\n", status);
    is_refused = 0;
    printf("%d blocks\n", COUNT);
    return 0;
}
