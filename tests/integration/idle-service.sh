#!/bin/bash
# A service whose threads all sleep comes back to within 10 % of what is live, though none of them
# calls; a process without threads has no thread of ours.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

service=$(program idle_service) || exit 1
idle() { # LABEL SETTINGS... - sets over, the per cent beyond what is live
    local label=$1 before live busy after
    shift
    read -r before live busy after < <(under bfc XSIGMA_STATS=0 "$@" -- "$service" 4 300 3 2>"$work/err") || {
        fail "$label: no result; $(head -n 3 "$work/err")"
        return
    }
    kept=$((after - before))
    over=$((kept * 100 / live - 100))
    echo "$label: $live KiB live, busy $((busy - before)), idle $kept ($over % more)"
}
idle "as it is" A=1
[ "$over" -lt 10 ] || fail "an idle service keeps $over % more than is live"
with=$kept
idle "without our thread" XSIGMA_CPU_IDLE_THREAD=0
[ "$kept" -gt $((with + 2048)) ] || fail "without the thread no more is kept: this test says nothing"
# One thread more, and only where there are threads already.
tasks=$(under bfc XSIGMA_STATS=0 -- python3 -c 'import os, threading
print(len(os.listdir("/proc/self/task")), end=" ")
e = threading.Event()
t = threading.Thread(target=e.wait)
t.start()
print(len(os.listdir("/proc/self/task")))
e.set()')
[ "$tasks" = "1 3" ] || fail "threads of a process without, and with one: $tasks"
# The main thread may end before the others: the process ends with the last one of the program's.
out=$(limit_s=20 under bfc XSIGMA_STATS=0 -- "$(program main_ends)" 2>&1)
[ "$? $out" = "0 last" ] || fail "the main thread ends first: $out"
finish
