#!/bin/bash
# Allocations before any constructor of ours, and frees after a thread's last destructor.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

hello=$(program cxx_hello) && thread_ends=$(program thread_ends) || exit 1
under_each "$hello"
under_each -- "$(program contract/contract)" tsd-destructors
for policy in "${policies[@]}"; do
    [ "$(under "$policy" XSIGMA_STATS=0 "$hello" 2>&1)" = "hello 10" ] || fail "$policy: hello prints something else"
    # What a thread's stack keeps (glibc caches stacks) is there with one thread as with many.
    for n in 2 12; do
        under "$policy" "XSIGMA_STATS_FILE=$work/$n.json" "$thread_ends" $n || fail "$policy: $n threads"
        live[n]=$(json_get "$work/$n.json" cpu.totals.live_blocks) || fail "$policy: no live_blocks in the report"
        frees[n]=$(json_get "$work/$n.json" cpu.totals.frees)
    done
    [ "${live[2]}" = "${live[12]}" ] || fail "$policy: ${live[2]} blocks live after 2 threads, ${live[12]} after 12"
    [ "${frees[12]}" -ge $((frees[2] + 20)) ] || fail "$policy: the threads' frees were not counted"
done
finish
