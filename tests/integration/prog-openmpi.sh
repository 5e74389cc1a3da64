#!/bin/bash
# An Open MPI job of four ranks on this machine: collectives, large and small messages, a window.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need mpicc mpirun
mpicc -O1 "$xs_root/tests/programs/linked/mpi_work.c" -o mpi_work || fail "mpicc cannot compile"

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
