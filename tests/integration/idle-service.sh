#!/bin/bash
# A service whose threads all sleep comes back to within 10 % of what is live, though none of them
# calls; a process without threads has no thread of ours.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

service=$(program idle_service) || exit 1
idle() { # LABEL THREADS LIVE_MIB SETTINGS... - sets over, the per cent beyond what is live
    local label=$1 threads=$2 mib=$3 before live busy after
    shift 3
    read -r before live busy after < <(under bfc XSIGMA_STATS=0 "$@" -- "$service" "$threads" "$mib" 3 2>"$work/err") || {
        fail "$label: no result; $(head -n 3 "$work/err")"
        return
    }
    kept=$((after - before))
    over=$((kept * 100 / live - 100))
    echo "$label: $live KiB live, busy $((busy - before)), idle $kept ($over % more)"
}
idle "8 threads" 8 100 A=1
[ "$over" -lt 10 ] || fail "an idle service of 8 threads keeps $over % more than is live"
idle "4 threads" 4 300 A=1
[ "$over" -lt 10 ] || fail "an idle service of 4 threads keeps $over % more than is live"
with=$kept
idle "4 threads, without ours" 4 300 XSIGMA_CPU_IDLE_THREAD=0
[ "$kept" -gt $((with + 2048)) ] || fail "without the thread no more is kept: this test says nothing"
# Threads that sleep and wake while their heaps are visited, also in signal handlers within malloc.
out=$(limit_s=60 under bfc XSIGMA_STATS=0 XSIGMA_CPU_DECAY=10ms "$(program asleep)" 6 2>&1)
[ "$? $out" = "0 ok" ] || fail "threads that sleep: $out"
# A thread that wakes in the middle of a visit waits for its end.
out=$(lib=$build/tests/hooked/libxsigma.so limit_s=100 under bfc XSIGMA_STATS=0 XSIGMA_CPU_DECAY=10ms "$(program woken)" 40 2>&1)
[[ "$? $out" == "0 ok "* ]] && [ "${out#ok }" -ge 20 ] || fail "threads that wake meanwhile: $out"
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
# By the second it has no heap of ours.
for settings in XSIGMA_CPU_BACKEND=bfc 'XSIGMA_CPU_ROUTE=<=64K:system,*:bfc'; do
    out=$(limit_s=20 under bfc "$settings" XSIGMA_STATS=0 -- "$(program main_ends)" 2>&1)
    [ "$? $out" = "0 last" ] || fail "the main thread ends first, $settings: $out"
done
finish
