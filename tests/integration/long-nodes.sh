#!/bin/bash
# The end of one node's memory while the machine has more, on an emulated machine of two nodes: in a
# cpuset, under numactl's policy and under XSIGMA_CPU_NUMA=bind, by the kernel's own counts and by
# whom it kills.
# timeout: 500
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/guest.sh
. "$root/tests/support/guest.sh"
guest_make
guest_add "$(program grow)" "$(program cache_heavy)" "$(program node_bound)"

cat >"$guest/script" <<'SCRIPT'
echo +cpuset >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/node
echo 1 >/sys/fs/cgroup/node/cpuset.mems
inside() {
    sh -c 'echo $$ >/sys/fs/cgroup/node/cgroup.procs; exec "$@"' - "$@"
}
with='env LD_PRELOAD=/libxsigma.so XSIGMA_STATS=0'
json='env LD_PRELOAD=/libxsigma.so XSIGMA_STATS_FILE=/tmp/r.json'
node=/sys/devices/system/node/node1/meminfo
grow="grow 600 $node:MemFree: $node:FilePages: $node:SReclaimable:"
run total grep MemTotal $node
run unaware inside $with XSIGMA_PRESSURE_WARN=0 $grow
run cpuset inside $with $grow
run numactl node_bound 1 $with $grow
run bind $with XSIGMA_CPU_NUMA=bind:1 $grow
run preferred $with XSIGMA_CPU_NUMA=preferred:1 $grow
run gives inside $json XSIGMA_CPU_DECAY=3600s cache_heavy 60 320 3
run json cat /tmp/r.json
run prefault inside $json XSIGMA_PREFAULT=700M cache_heavy 20 20 2
run json-prefault cat /tmp/r.json
SCRIPT
# shellcheck disable=SC2054 # commas of QEMU
sizes=(-object memory-backend-ram,id=m0,size=1G -object memory-backend-ram,id=m1,size=512M
    -numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1)
guest_boot out 400 -smp 2 -m 1536M "${sizes[@]}" || finish

total=$(guest_of out total | awk '/MemTotal/ { print $4 }') # KiB
last_step() { # CASE
    guest_of out "$1" | awk '$1 == "step" { n = $2 } END { print n + 0 }'
}
lines() { # CASE
    guest_of out "$1" | grep -c 'memory runs short'
}

# The kernel kills at the end of the node, with 600 MiB and more free on the other one.
guest_of out unaware | grep -qx 'status 137' || fail "node 1 has no end: this test says nothing"
echo "of $((total >> 10)) MiB the kernel killed at $(last_step unaware)"
for c in cpuset numactl bind; do
    guest_of out $c | grep 'memory runs short'
    [ "$(lines $c)" = 1 ] || fail "$c: $(lines $c) warnings"
    guest_of out $c | grep -q 'of the allowed NUMA nodes used' || fail "$c: not of nodes"
    # True: what was used when it said so is, less what the kernel would drop and with what it keeps for
    # itself, at most a tenth, what the kernel tells of the node just before.
    guest_of out $c | awk -v total="$total" '
        $1 == "step" { used = total - $3 - $4 - $5; at = $2 }
        /memory runs short/ { said = $5 * 1024; limit = $8 * 1024; warned = at }
        END {
            printf "said %d KiB of %d; by the kernel %d of %d without what it keeps; killed %d MiB later\n",
                said, limit, kernel, total, at - warned
            exit !(limit > total - 2048 && limit < total + 2048 && kernel > 0 &&
                   said > kernel - 4096 && said < kernel + total / 10 && at - warned >= 16)
        }
        /memory runs short/ { kernel = used }' || fail "$c: untrue, or too late"
done
[ "$(lines preferred)" = 0 ] || fail "preferred: who runs over to the other node is warned"
guest_of out preferred | grep -qx 'status 0' || fail "preferred: $(guest_of out preferred | tail -n 1)"

# Caches shrink before the kernel kills.
guest_of out gives | grep -qx 'status 0' || fail "caches that give way: $(guest_of out gives | tail -n 1)"
[ "$(lines gives)" -ge 1 ] || fail "cache_heavy: no warning"
pressure() { # CASE FIELD
    guest_of out "$1" | sed '$d' >"$work/$1"
    json_get "$work/$1" "cpu.memory_pages.$2"
}
[ "$(pressure json pressure.of)" = 'the allowed NUMA nodes' ] || fail "the report: $(pressure json pressure.of)"
[ "$(pressure json pressure.limit_bytes)" -eq $((total << 10)) ] || fail "the report: $(pressure json pressure.limit_bytes)"
[ "$(pressure json pressure.shrinks)" -ge 1 ] || fail "the report: caches gave way $(pressure json pressure.shrinks) times"

# What is got at start is no more than the node has.
guest_of out prefault | grep -qx 'status 0' || fail "prefault: $(guest_of out prefault | tail -n 3)"
guest_of out prefault | grep XSIGMA_PREFAULT || fail "prefault: not told"
got=$(pressure json-prefault prefault_bytes)
{ [ "$got" -gt $((total << 9)) ] && [ "$got" -lt $((total << 10)) ]; } || fail "prefault: $got"
finish
