/* contract.c - what a program may expect of malloc and its family.
 *
 * contract            runs every case, each in a process of its own
 * contract --list     prints the names of the cases
 * contract CASE       runs one case in this process
 *
 * XSIGMA_CPU_ALIGN, where it is set, is the alignment that every block must have. With
 * CONTRACT_FULL_FAMILY=1 entry points that this glibc lacks (free_sized, for one) must be there;
 * otherwise they are passed over.
 */
#include "contract.h"

const char *case_name = "contract";
atomic_int failures;
size_t least_align = 16;

static const struct contract_case *const lists[] = {contract_calls, contract_process};

static const struct contract_case *find(const char *name)
{
    for (size_t i = 0; i < 2; i++)
        for (const struct contract_case *c = lists[i]; c->name != NULL; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

static int run_apart(const struct contract_case *c)
{
    char *argv[] = {"contract", (char *)(uintptr_t)c->name, NULL};
    pid_t pid;

    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) != 0)
        return 1;
    return wait_status(pid);
}

static int run_all(void)
{
    int count = 0;
    int failed = 0;
    int skipped = 0;

    for (size_t i = 0; i < 2; i++)
        for (const struct contract_case *c = lists[i]; c->name != NULL; c++) {
            int status = run_apart(c);
            count++;
            skipped += status == 77;
            if (status == 0 || status == 77)
                continue;
            printf("FAIL: case %s: %s %d\n", c->name, status >= 1000 ? "signal" : "status",
                   status % 1000);
            fflush(stdout);
            failed++;
        }
    printf("%d cases, %d failed, %d skipped\n", count, failed, skipped);
    return failed != 0;
}

int main(int argc, char **argv)
{
    const char *align = getenv("XSIGMA_CPU_ALIGN");

    if (align != NULL && atoi(align) > 16)
        least_align = (size_t)atoi(align);
    if (argc < 2)
        return run_all();
    if (strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < 2; i++)
            for (const struct contract_case *c = lists[i]; c->name != NULL; c++)
                puts(c->name);
        return 0;
    }
    const struct contract_case *c = find(argv[1]);
    if (c == NULL) {
        fprintf(stderr, "contract: no case named %s\n", argv[1]);
        return 2;
    }
    case_name = c->name;
    alarm(60);
    c->run();
    return failures != 0;
}
