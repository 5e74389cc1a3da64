/* How many KiB of the library's own variables are this process's alone: in a process that has
 * allocated a little, in a child of it that allocates the same, and in one that needs a slab more.
 * fork_pages LIBRARY */
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uintptr_t from, to; /* the library's part that may be written to */

static int look(struct dl_phdr_info *o, size_t bytes, void *library)
{
    (void)bytes;
    if (strstr(o->dlpi_name, library) == NULL)
        return 0;
    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &o->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && (h->p_flags & PF_W) != 0) {
            from = o->dlpi_addr + h->p_vaddr;
            to = from + h->p_memsz;
        }
    }
    return 1;
}

/* By the bits of the kernel's pagemap: there, of no file, and in no other process. */
static unsigned private_kib(void)
{
    const uint64_t is_there = 1ull << 63, is_file = 1ull << 61, is_alone = 1ull << 56;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    unsigned sum = 0;
    uint64_t bits;

    for (uintptr_t at = from / 4096; at <= (to - 1) / 4096; at++)
        if (pread(fd, &bits, sizeof(bits), (off_t)(at * sizeof(bits))) == (ssize_t)sizeof(bits))
            sum += (bits & (is_there | is_file | is_alone)) == (is_there | is_alone) ? 4 : 0;
    close(fd);
    return sum;
}

static void use(size_t size)
{
    void *volatile p = malloc(size);
    free(p);
}

static void in_child(const char *what, size_t size)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 10; i++)
            use(size);
        printf("%s %u\n", what, private_kib());
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
    static char out[4096];

    if (argc < 2 || dl_iterate_phdr(look, argv[1]) == 0)
        return 2;
    setvbuf(stdout, out, _IOFBF, sizeof(out));
    use(100);
    use(3000);
    printf("process %u\n", private_kib());
    in_child("child", 100);
    in_child("child-slab", 30000);
    return 0;
}
