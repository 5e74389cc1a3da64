#!/bin/bash
# Memory cgroups of version 2 for real, on an emulated machine: a group's own limit, that of the one
# above it, memory.high, a limit that comes down while the process runs, and waiting (PSI).
# timeout: 500
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/guest.sh
. "$root/tests/support/guest.sh"
guest_make
guest_add "$(program grow)" "$(program cache_heavy)"
cat >"$guest/script" <<'SCRIPT'
cg=/sys/fs/cgroup
echo +memory >$cg/cgroup.subtree_control
mkdir $cg/out
echo +memory >$cg/out/cgroup.subtree_control
mkdir $cg/out/in
limits() { # OUT-MAX IN-MAX IN-HIGH
    echo "$1" >$cg/out/memory.max
    echo "$2" >$cg/out/in/memory.max
    echo "$3" >$cg/out/in/memory.high
}
inside() {
    sh -c 'echo $$ >/sys/fs/cgroup/out/in/cgroup.procs; exec "$@"' - "$@"
}
with='env LD_PRELOAD=/libxsigma.so XSIGMA_STATS=0'
json='env LD_PRELOAD=/libxsigma.so XSIGMA_STATS_FILE=/tmp/r.json XSIGMA_CPU_DECAY=3600s'
grow="grow 300 $cg/out/in/memory.current: $cg/out/in/memory.stat:inactive_file $cg/out/in/memory.stat:file_mapped"
limits max 200M max
run own inside $with $grow
run own-events cat $cg/out/in/memory.events
limits 200M max max
run above inside $with $grow
run above-events cat $cg/out/memory.events
limits max 250M 200M
run high inside timeout 40 $with grow 230 ${grow#grow 300}
run high-events cat $cg/out/in/memory.events
run high-psi cat $cg/out/in/memory.pressure
sleep 12 # until that is past
# The limit comes down, as who manages groups does it, while memory lies free in the process.
lowered() {
    inside $json cache_heavy 60 200 8 &
    pid=$!
    sleep 4
    echo 290M >$cg/out/in/memory.high
    sleep 3
    echo 300M >$cg/out/in/memory.max
    wait $pid
}
limits max 700M max
run lowered lowered
run lowered-json cat /tmp/r.json
run lowered-events cat $cg/out/in/memory.events
SCRIPT
guest_boot out 280 -smp 2 -m 1G || finish
for c in own above high; do
    guest_of out $c | grep 'memory runs short'
    n=$(guest_of out $c | grep -c 'memory runs short')
    [ "$n" = 1 ] || fail "$c: $n warnings"
    # True: between what the kernel counted before and after, less what it would drop.
    guest_of out $c | awk '
        /memory runs short/ { said = $5 * 1024; limit = $8; warned = at; kernel = used }
        $1 == "step" { used = $3 / 1024; at = $2 }
        END {
            printf "said %d KiB, the kernel %d; the last step was %d MiB later\n", said, kernel, at - warned
            exit !(limit == 200 && said > kernel - 8192 && said < kernel + 4096 && at - warned >= 8)
        }' || fail "$c: untrue, or too late"
done
guest_of out own | grep -qx 'status 137' || fail "own: not killed: this test says nothing"
guest_of out own-events | grep -qx 'oom_kill 1' || fail "own: $(guest_of out own-events)"
guest_of out above | grep -qx 'status 137' || fail "above: not killed: this test says nothing"
guest_of out high-events | awk '$1 == "high" { exit !($2 > 0) }' || fail "high: nobody waited: this test says nothing"
guest_of out lowered | grep 'memory runs short'
guest_of out lowered | grep -qx 'status 0' || fail "lowered: $(guest_of out lowered | tail -n 1)"
finish
