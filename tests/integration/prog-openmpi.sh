#!/bin/bash
# An Open MPI job of four ranks on this machine: collectives, large and small messages, a window.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need mpicc mpirun
cat >work.c <<'C'
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int rank, size;
    long sum = 0, all = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int n = 1; n <= 4 << 20; n *= 4) {
        int *out = malloc((size_t)n * sizeof(int));
        int *in = malloc((size_t)n * sizeof(int));

        for (int i = 0; i < n; i++)
            out[i] = rank * 1000 + i % 977;
        MPI_Sendrecv(out, n, MPI_INT, (rank + 1) % size, 1, in, n, MPI_INT,
                     (rank + size - 1) % size, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (int i = 0; i < n; i++)
            sum += in[i];
        MPI_Allreduce(out, in, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        sum += in[n - 1];
        free(out);
        free(in);
    }
    int *shared;
    MPI_Win window;
    MPI_Win_allocate(1000 * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &shared, &window);
    memset(shared, 0, 1000 * sizeof(int));
    MPI_Win_fence(0, window);
    for (int i = 0; i < 1000; i++)
        MPI_Accumulate(&rank, 1, MPI_INT, (rank + i) % size, i, 1, MPI_INT, MPI_SUM, window);
    MPI_Win_fence(0, window);
    for (int i = 0; i < 1000; i++)
        sum += shared[i];
    MPI_Win_free(&window);
    for (int i = 0; i < 200; i++) {
        MPI_Comm other;

        MPI_Comm_split(MPI_COMM_WORLD, (rank + i) % 2, rank, &other);
        MPI_Comm_free(&other);
    }
    MPI_Reduce(&sum, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("%d ranks, sum %ld\n", size, all);
    MPI_Finalize();
    return 0;
}
C
mpicc -O1 work.c -o mpi_work || fail "mpicc cannot compile"

# mpirun runs with the library, too; each rank gets it by -x, as ranks on other machines would.
cat >job <<'SH'
#!/bin/sh
pass=
for v in $(env | sed -n 's/^\(XSIGMA_[A-Z_]*\|LD_PRELOAD\)=.*/\1/p'); do
    pass="$pass -x $v"
done
# Ranks on this machine only: no remote shell, and the loopback network.
exec mpirun --allow-run-as-root --oversubscribe -n 4 \
    --mca plm_rsh_agent /bin/false --mca oob_tcp_if_include lo --mca btl_tcp_if_include lo \
    --mca btl_vader_single_copy_mechanism none $pass ./mpi_work
SH
chmod +x job
# Short names: Open MPI puts sockets under it.
export TMPDIR=/tmp

xs_run_without ./job >expected.out || {
    cat "$xs_stderr"
    skip "an MPI job does not run here at all"
}
cat expected.out
grep -q '^4 ranks, sum' expected.out || fail "MPI job without the library: no result"
for policy in "${xs_policies[@]}"; do
    xs_children=1
    echo "job $policy"
    xs_run "$policy" ./job >got.out || {
        fail "MPI job under $policy: status $?"
        tail -n 20 "$xs_stderr"
    }
    xs_runs=$((xs_runs + 1))
    xs_same_bytes "MPI job under $policy" expected.out got.out
    xs_proven "MPI job under $policy" "$policy" mpi_work
    ranks=$(find "$xs_reports" -name 'mpi_work*.json' | wc -l)
    [ "$xs_stand_in" = 1 ] || [ "$ranks" -eq 4 ] || fail "MPI job under $policy: $ranks reports of 4 ranks"
done
finish
