#!/bin/bash
# More threads alive at one time than the own core has numbers for heaps (4095), freeing each other's
# blocks: nothing is lost, and all is counted.
# timeout: 1200
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

many=$(program many_threads) || exit 1
count=4500
"$many" $count >"$work/out" 2>&1
case $? in
    0) ;;
    77) skip "$(cat "$work/out")" ;;
    *) fail "without the library: $(cat "$work/out")" ;;
esac
limit_s=400
for policy in "${policies[@]}"; do
    under "$policy" XSIGMA_STATS_FILE="$work/report.json" "$many" $count >"$work/out" 2>&1
    rc=$?
    [ "$rc $(cat "$work/out")" = "0 $count threads, 0 blocks wrong" ] ||
        fail "$policy: status $rc: $(tail -n 5 "$work/out")"
done
# Of these the own core's figures are exact: what main and each thread asked for came back.
under bfc XSIGMA_STATS_FILE="$work/report.json" "$many" $count >"$work/out" 2>&1
live=$(json_get "$work/report.json" cpu.totals.live_blocks)
calls=$(json_get "$work/report.json" cpu.totals.allocations)
[ "$calls" -ge $((count * 24 * 6)) ] || fail "bfc: $calls allocations counted"
# glibc keeps 40 MiB of ended threads' stacks, each with a block of ours.
[ "$live" -le 700 ] || fail "bfc: $live blocks live at the end"
finish
