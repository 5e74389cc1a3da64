#!/bin/bash
# A block that is freed twice ends the process with SIGABRT and a line that says so; a program
# without error prints nothing. What cannot be seen without a hardened mode is pinned as a limit.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

double_free=$(program double_free) || exit 1
freed() { # CASE [NAME=VALUE...]
    local name=$1
    shift
    (ulimit -c 0 && under bfc "XSIGMA_STATS_FILE=$work/report" "$@" -- "$double_free" "$name") >"$work/out" 2>"$work/err"
}

for name in small smallest small-later small-each others-each medium medium-later medium-gone chunk chunk-later large calloc realloc \
    other-then-this other-then-this-chunk this-then-other this-then-other-chunk \
    realloc-chunk realloc-longer-chunk realloc-large realloc-longer-large; do
    for setting in XSIGMA_STATS=auto XSIGMA_STATS=0 XSIGMA_CPU_CACHE=0 XSIGMA_CPU_ALIGN=64; do
        # Without a cache the other thread's first slab takes the place of the chunk: it is in use.
        [ "$name $setting" = 'this-then-other-chunk XSIGMA_CPU_CACHE=0' ] && continue
        freed $name $setting
        rc=$?
        # timeout, as env, passes the signal on as 128 + 6.
        { [ $rc -eq 134 ] && [ ! -s "$work/out" ]; } || fail "$name, $setting: status $rc: $(cat "$work/out")"
        grep -qE '^xsigma: (double free|realloc of a freed block): 0x[0-9a-f]+$' "$work/err" || {
            fail "$name, $setting: no line that says so; standard error:"
            head -n 5 "$work/err"
        }
    done
done

# Limits: the mark in the block is gone, or the block is somebody's again, so nobody can know. Should
# one of these be caught one day, it belongs above.
for name in again written; do
    freed $name
    rc=$?
    grep -q 'survived' "$work/out" || fail "$name: expected to go unseen, now status $rc: $(cat "$work/err")"
done

for setting in XSIGMA_STATS=0 XSIGMA_CPU_CACHE=0 XSIGMA_CPU_ALIGN=64 XSIGMA_BFC_COALESCE=0; do
    freed none $setting
    rc=$?
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = survived ] && [ ! -s "$work/err" ]; } || {
        fail "no double free, $setting: status $rc: $(cat "$work/out")"
        head -n 5 "$work/err"
    }
done
finish
