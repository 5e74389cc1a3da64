/* mpi_work.c - what the ranks of an MPI job do: collectives, large and small messages, a window. */
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
    MPI_Win_allocate(1000 * sizeof(int), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &shared,
                     &window);
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
