/* node_bound.c NODE COMMAND... - runs the command with all its memory from that node, as numactl's
 * --membind has it. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    unsigned long nodes = argc > 2 ? 1ul << atoi(argv[1]) : 0;

    if (nodes == 0 || syscall(SYS_set_mempolicy, 2 /* MPOL_BIND */, &nodes, 64ul) != 0)
        return 2;
    execvp(argv[2], argv + 2);
    return 127;
}
