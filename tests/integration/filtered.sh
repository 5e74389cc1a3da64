#!/bin/bash
# A program puts a filter over itself that allows what the C library's malloc needs and kills for the
# rest, as sandboxes do: nothing of ours makes another call, from then to the end.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

filtered=$(program filtered) || exit 1

# HOW THREADS NEW CHILDREN
cases=('prctl 0 0 0' 'seccomp 0 0 0' 'prctl 0 0 2' 'prctl 0 2 0' 'seccomp 3 0 0' 'seccomp 3 2 2')
# mimalloc asks for random numbers and changes the protection of pages, oneTBB yields where there are
# threads: calls of their own, which they make without us as well. A guard page is made by mprotect.
for case in "${cases[@]}"; do
    read -ra words <<<"$case"
    GLIBC_TUNABLES=glibc.malloc.arena_max=1 "$filtered" "${words[@]}" >"$work/out" 2>"$work/err"
    rc=$?
    [ $rc -ne 100 ] || skip "no filter of system calls may be set here"
    [ $rc -eq 3 ] || {
        fail "$case without us: status $rc: $(head -n 1 "$work/err")"
        continue
    }
    settings=(XSIGMA_STATS=auto XSIGMA_STATS=0 XSIGMA_CPU_BACKEND=system XSIGMA_SAMPLE=4K XSIGMA_RECORD=off
        XSIGMA_STATS_INTERVAL=10ms XSIGMA_CPU_HUGE_PAGES=thp XSIGMA_CPU_NUMA=local XSIGMA_PREFAULT=4M
        XSIGMA_MEMORY_LIMIT=4G XSIGMA_STATS_CHILDREN=1 "${bfc_settings[@]}" XSIGMA_CPU_HARDENED=check)
    [[ $case == *' 0 0 '* ]] || settings+=(XSIGMA_CPU_GUARD_SAMPLE=20 XSIGMA_CPU_HARDENED=full)
    [[ $case == *' 0 0 '* ]] && have_backend tbb && settings+=(XSIGMA_CPU_BACKEND=tbb)
    for setting in "${settings[@]}"; do
        # shellcheck disable=SC2086 # settings are words
        timeout --foreground 60 env LD_PRELOAD="$lib" GLIBC_TUNABLES=glibc.malloc.arena_max=1 XSIGMA_STATS_FILE="$work/report" \
            XSIGMA_CPU_DECAY=10ms $setting "$filtered" "${words[@]}" >"$work/out" 2>"$work/err"
        rc=$?
        { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = "done" ] && [ ! -s "$work/err" ]; } ||
            fail "$case, $setting: status $rc: $(head -n 3 "$work/err")"
    done
done

# One that a child of vfork puts over itself is not its parent's, which reports as ever.
filtered=$(program vfork_filter) || exit 1
for how in prctl seccomp; do
    rm -f "$work/report"
    LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$work/report" "$filtered" $how >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = "done" ] && [ ! -s "$work/err" ]; } ||
        fail "$how in a child of vfork: status $rc: $(head -n 3 "$work/err")"
    grep -q 'exit 3' "$work/report" || fail "$how in a child of vfork: its parent did not report"
done
finish
