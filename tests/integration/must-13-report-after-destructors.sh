#!/bin/bash
# The report counts what other libraries' destructors free, which run after ours.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

free_at_end=$(program free_at_end) && libend=$(program libfree_at_end) || exit 1
for policy in "${policies[@]}"; do
    for n in 0 500; do
        under "$policy" FREE_AT_END=$n "XSIGMA_STATS_FILE=$work/$n.json" "$free_at_end" "$libend" >"$work/out" 2>&1 ||
            fail "$policy: status $?"
        live[n]=$(json_get "$work/$n.json" cpu.totals.live_blocks) || fail "$policy: no live_blocks in the report"
        calls[n]=$(json_get "$work/$n.json" cpu.totals.allocations)
    done
    [ "${live[0]}" = "${live[500]}" ] || fail "$policy: $((live[500] - live[0])) blocks count as live that a destructor freed"
    [ $((calls[500] - calls[0])) -eq 500 ] || fail "$policy: $((calls[500] - calls[0])) allocations, not 500"
done
finish
