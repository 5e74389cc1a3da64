#!/bin/bash
# libc's thread for timers waits for a signal that it keeps blocked; what holds signals back while it
# allocates puts that thread's own mask back, or the signal ends the process.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

timers=$(program timer_threads)
for setting in XSIGMA_SAMPLE=1 XSIGMA_CPU_HARDENED=full XSIGMA_CPU_BACKEND=system \
    "${policies[@]/#/XSIGMA_SAMPLE=1 XSIGMA_CPU_BACKEND=}"; do
    [[ $setting == *=route ]] && continue
    read -ra settings <<<"$setting"
    out=$(under none "${settings[@]}" XSIGMA_STATS_FILE="$work/report.json" -- "$timers" 2>&1)
    rc=$?
    [ "$rc $out" = "0 told 50 times" ] || fail "$setting: status $rc, '$out'"
done
finish
