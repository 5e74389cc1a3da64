#!/bin/bash
# XSIGMA_CPU_NUMA on machines of two and four nodes, emulated in software by Debian's QEMU under
# Debian's kernel: where each page of a thread's blocks lies, by what that kernel says.
# timeout: 900
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/guest.sh
. "$root/tests/support/guest.sh"
guest_make
guest_add "$(program numa_where)"
cat >"$guest/script" <<'SCRIPT'
nodes=$(sed 's/.*xs_nodes=\([0-9]*\).*/\1/' /proc/cmdline)
with() { # CASE NAME=VALUE...
    name=$1
    shift
    run "$name" env LD_PRELOAD=/libxsigma.so "$@" numa_where "$nodes"
}
with off XSIGMA_STATS=0
with local XSIGMA_CPU_NUMA=local XSIGMA_STATS=1
with interleave XSIGMA_CPU_NUMA=interleave XSIGMA_STATS=1
with bind XSIGMA_CPU_NUMA=bind:1 XSIGMA_STATS=0
with preferred XSIGMA_CPU_NUMA=preferred:1 XSIGMA_STATS=0
with run XSIGMA_CPU_NUMA_RUN=1 XSIGMA_STATS=0
SCRIPT

emulate() { # NODES
    local n args=(-smp "$1" -m "$((512 * $1))M")
    for ((n = 0; n < $1; n++)); do
        args+=(-object "memory-backend-ram,id=m$n,size=512M" -numa "node,nodeid=$n,cpus=$n,memdev=m$n")
    done
    guest_append="xs_nodes=$1"
    guest_boot "out-$1" 400 "${args[@]}"
}
of() { # NODES CASE
    guest_of "out-$1" "$2"
}

for nodes in 2 4; do
    emulate $nodes || continue
    for c in off local interleave bind preferred; do
        of $nodes $c | grep -q '^status 0' || fail "$nodes nodes, $c: $(of $nodes $c | head -n 5)"
    done
    echo "$nodes nodes:"
    of $nodes local | grep -E '^(node|spread)|nodes:'
    of $nodes local | awk '/^node/ { n++; if ($4 < 95) bad = 1 } END { exit bad || n != '$nodes' }' ||
        fail "$nodes nodes: less than 95 % of a thread's pages are local"
    of $nodes local | tr '\n' ' ' | grep -qE "nodes: .* 1 has .* $nodes of +$nodes +have an arena" || fail "$nodes nodes: the report"
    echo "interleave: $(of $nodes interleave | grep '^interleaved')"
    # Even: no node has less than nine tenths of the mean.
    of $nodes interleave | awk '/^interleaved/ { for (i = 2; i <= NF; i++) { s += $i; if (i == 2 || $i < m) m = $i }
        seen = 1; exit m * (NF - 1) < 0.9 * s ? 1 : 0 } END { exit !seen }' || fail "$nodes nodes: uneven"
    echo "bind:1: $(of $nodes bind | grep '^node' | tr '\n' ' ')"
    of $nodes bind | awk '/^node/ { if ($2 == 1 ? $4 < 95 : $4 > 5) bad = 1; n++ } END { exit bad || n != '$nodes' }' ||
        fail "$nodes nodes: bind:1 does not keep to node 1"
    of $nodes preferred | awk '/^node 1/ { seen = $4 >= 95 } END { exit !seen }' || fail "$nodes nodes: preferred:1"
    of $nodes run | grep -qx 'runs on 1, 1 processors' || fail "$nodes nodes: XSIGMA_CPU_NUMA_RUN=1"
done
finish
