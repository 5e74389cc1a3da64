#!/bin/bash
# After a warm-up only system calls about memory and futexes, as a seccomp filter may require.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need strace

steady=$(program steady) || exit 1
for policy in "${policies[@]}"; do
    rm -f "$work/trace"
    LD_PRELOAD='' timeout --foreground 100 strace -f -qq -o "$work/trace" -E "LD_PRELOAD=$lib" \
        -E "XSIGMA_CPU_$([ "$policy" = route ] && echo "ROUTE=$route" || echo "BACKEND=$policy")" \
        "$steady" >"$work/out" 2>&1 || {
        grep -qiE 'operation not permitted|ptrace' "$work/out" && skip "strace may not trace here"
        fail "$policy: status $?"
        head -n 5 "$work/out"
        continue
    }
    # The trace of several threads: "PID name(args) = ..." and "PID <... name resumed>".
    awk '/write\(-1, "begin"/ { on = 1; next } /write\(-1, "end"/ { on = 0; seen = 1 } on { print }
         END { exit !seen }' "$work/trace" >"$work/steady" || fail "$policy: no marks in the trace"
    sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$work/steady" | sort | uniq -c >"$work/calls"
    echo "$policy: $(tr -s ' \n' ' ' <"$work/calls")"
    # What the back ends themselves do and a preload cannot change: glibc's malloc moves its break
    # and remaps; oneTBB's locks yield. The own core asks how much of its memory was touched while
    # it grows past 64 MiB, and what the process has while it holds more than ever, but under no
    # filter (test filtered). mimalloc does not say when it takes memory, so from time to time the
    # limits and what is used of them are read, under no filter either.
    case $policy in
        system) own='brk|mremap' ;;
        tbb) own='sched_yield' ;;
        route) own='brk|mremap|sched_yield|openat|fstat|read|close' ;;
        bfc) own='mincore|openat|fstat|read|close' ;;
        mimalloc) own='openat|fstat|read|close' ;;
        *) own=futex ;;
    esac
    grep -vE " (mmap|munmap|madvise|mprotect|futex|$own)\$" "$work/calls" >"$work/wrong"
    grep ' openat(' "$work/steady" | grep -vE '"(/proc/(meminfo|pressure/memory|self/(statm|status|cgroup))|/sys/fs/cgroup/[^"]*)"' >>"$work/wrong"
    if [ -s "$work/wrong" ]; then
        fail "$policy: other system calls:"
        cat "$work/wrong"
    fi
done
finish
