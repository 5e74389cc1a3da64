/* api_sizes.c - the most that mimalloc 3 has blocks for, asked of it by its name, and one byte
 * more; without a name the policy finds somebody. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <xsigma.h>

#define MIB ((size_t)1 << 20)

static int failed;

static void check(int ok, const char *what)
{
    if (!ok)
        printf("%s\n", what);
    failed |= !ok;
}

static struct xsigma_backend_stats of_mimalloc(void)
{
    struct xsigma_stats s = {.stats_size = sizeof(s)};

    check(xsigma_stats_snapshot(&s) == 0, "snapshot");
    for (size_t i = 0; i < s.backend_count; i++)
        if (strcmp(s.backends[i].name, "mimalloc") == 0)
            return s.backends[i];
    check(0, "no mimalloc");
    return s.backends[0];
}

int main(void)
{
    struct xsigma_attr attr = XSIGMA_ATTR_INIT;
    char *p, *q;

    attr.backend = "mimalloc";
    check(xsigma_alloc((void **)&p, 16 * MIB, &attr) == 0, "16 MiB");
    check(xsigma_alloc((void **)&q, 16 * MIB + 1, &attr) == ENOTSUP && q == NULL, "a byte more");
    check(xsigma_alloc_batch((void **)&q, 1, 17 * MIB, &attr) == ENOTSUP && q == NULL, "a batch");
    memset(p, 7, 16 * MIB);
    q = p;
    check(xsigma_realloc((void **)&p, 17 * MIB, &attr) == ENOTSUP && p == q, "grown");
    check(p[16 * MIB - 1] == 7, "what was in it");
    check(xsigma_realloc((void **)&p, 100 * MIB, NULL) == 0 && p[16 * MIB - 1] == 7,
          "grown by the policy");
    xsigma_free(p);
    check(xsigma_alloc((void **)&p, 17 * MIB, NULL) == 0, "17 MiB by the policy");
    xsigma_free(p);
    attr.alignment = 128 * 1024;
    check(xsigma_alloc((void **)&p, 100, &attr) == ENOTSUP && p == NULL, "a wide alignment");
    check(of_mimalloc().failures == 0, "what it was not asked for counts as its failure");
    return failed;
}
