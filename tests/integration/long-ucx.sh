#!/bin/bash
# UCX, which hooks mmap, munmap and madvise to know when memory that it registered goes away: an Open MPI
# job over it, and its own performance test over TCP and over shared memory.
# timeout: 900
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"
need mpicc mpirun ucx_info ucx_perftest

mpicc -O1 "$xs_root/tests/programs/linked/mpi_work.c" -o mpi_work || fail "mpicc cannot compile"
cat >job <<'SH'
#!/bin/sh
# Without the network cards that it is for, UCX must be told that other ways will do.
exec mpirun --allow-run-as-root --oversubscribe -n 2 --mca plm_rsh_agent /bin/false --mca oob_tcp_if_include lo \
    --mca pml ucx --mca pml_ucx_tls any --mca pml_ucx_devices any -x UCX_TLS=$1 ./mpi_work
SH
cat >pair <<'SH'
#!/bin/bash
# pair TRANSPORTS TEST - a server and a client; prints the rows of the last table, without its figures.
export UCX_TLS=$1 UCX_NET_DEVICES=lo
port=$((20000 + RANDOM % 20000))
ucx_perftest -p $port >/dev/null 2>&1 &
for _ in {1..50}; do
    ucx_perftest -p $port 127.0.0.1 -t "$2" -s 300000 -n 300 -w 10 >out 2>err && break
    sleep 0.1
done
rc=$?
wait || rc=$?
grep -a -c Final out
exit $rc
SH
chmod +x job pair
export TMPDIR=/tmp
same_output ucx_info ucx_info -c
for transports in tcp,self posix,sysv,cma,self; do
    xs_run_without ./job $transports >expected.out || { tail -n 5 "$xs_stderr" && skip "no MPI job over UCX runs here at all"; }
    same_output -c mpi_work "MPI over $transports" ./job $transports
    for t in tag_bw ucp_put_bw stream_bw; do
        same_output -c ucx_perftest "$t over $transports" ./pair $transports $t
    done
done
finish
