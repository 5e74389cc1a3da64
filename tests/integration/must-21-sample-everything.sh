#!/bin/bash
# Every block is sampled while threads load and unload libraries, throw, fork and take signals, on
# every back end and by either way to walk stacks; then in real programs. Nothing hangs or changes.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

program sample_storm
storm=$xs_program
part=$xs_root/build/tests/programs/libknown_part.so
cp "$part" libother_part.so
strip libother_part.so
seconds=${STORM_SECONDS:-4}

# every NAME COMMAND... - with a time limit that only a hang reaches
every() {
    timeout -s KILL 120 env XSIGMA_SAMPLE=1 XSIGMA_STATS_FILE="$PWD/report-%p.json" XSIGMA_STATS_CHILDREN=1 \
        LD_PRELOAD="$XS_LIB" "$@"
}

for setting in XSIGMA_UNWIND=libunwind XSIGMA_UNWIND=fp XSIGMA_UNWIND=off XSIGMA_CPU_BACKEND=system \
    XSIGMA_CPU_BACKEND=mimalloc XSIGMA_CPU_BACKEND=tbb XSIGMA_SAMPLE=64K; do
    rm -f report-*
    out=$(every "$setting" "$storm" "$seconds" "$part" "$PWD/libother_part.so" 2>err)
    rc=$?
    [ "$rc $out" = "0 all done" ] || fail "$setting: status $rc, '$out', $(head -n 3 err)"
    cat report-*.json | grep -q '"samples": [1-9][0-9][0-9]' || fail "$setting: hardly anything was sampled"
    xs_runs=$((xs_runs + 1))
done

same() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >plain 2>&1
    local status=$?
    every "$@" >sampled 2>err
    [ $? = $status ] || fail "$name: another status"
    cmp -s plain sampled || fail "$name prints something else: $(diff plain sampled | head -n 4)"
    xs_runs=$((xs_runs + 1))
}
export PYTHONMALLOC=malloc
# Python 3.12 warns of a fork beside threads, if they have not ended yet.
command -v python3 >/dev/null && same python3 /usr/bin/python3 -W ignore::DeprecationWarning -c '
import json, threading, subprocess, os
def work():
    for i in range(20):
        json.loads(json.dumps({str(k): [k] * 3 for k in range(50)}))
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
for i in range(5):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    os.waitpid(pid, 0)
[t.join() for t in threads]
print(subprocess.run(["echo", "x"], capture_output=True).stdout)'
# shellcheck disable=SC2016
same perl perl -e 'my %h; $h{$_} = "x" x ($_ % 50) for 1 .. 3000; print join(",", map { length } @h{1 .. 3000}), "\n"'
same sh sh -c 'for i in 1 2 3 4 5; do echo $i | cat; done | sort -r'
command -v sqlite3 >/dev/null && same sqlite3 sqlite3 :memory: 'with recursive n(x) as (select 1 union all select x + 1 from n where x < 2000) select sum(x), group_concat(x) from n'
if command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null; then
    every redis-server --port 0 --unixsocket "$PWD/s" --save '' --daemonize no >redis 2>&1 &
    server=$!
    for ((i = 0; i < 100; i++)); do [ -S s ] && break; sleep 0.1; done
    timeout 60 redis-benchmark -s "$PWD/s" -n 2000 -c 10 -q -t set,get,lpush,lrange_100 >bench 2>&1 || fail "redis-benchmark: $(tail -n 2 bench)"
    redis-cli -s "$PWD/s" shutdown nosave >/dev/null 2>&1
    wait $server
    xs_runs=$((xs_runs + 1))
fi
finish
