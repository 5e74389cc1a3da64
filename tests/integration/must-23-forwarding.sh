#!/bin/bash
# What the library adds to a malloc and free of 64 bytes, in instructions: 10 in front of the same
# libmimalloc, 16 where that is version 3, which may need room for any block, 8 in front of the C
# library's own; for counting at most 15 more, 17 with version 3, and 21 in front of the C library,
# where only what it returns tells that a call failed.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind
have_backend mimalloc || skip "libmimalloc is not installed"
mimalloc=$(find_mimalloc)

pairs=$(program pairs) || exit 1
instructions() { # PRELOAD COUNT [NAME=VALUE...]
    local preload=$1 count=$2 n
    shift 2
    n=$(timeout --foreground 100 env "$@" "LD_PRELOAD=$preload" \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$pairs" "$count" 2>&1 |
        sed -nE 's/.*Collected : ([0-9]+).*/\1/p')
    printf '%s\n' "${n:-0}"
}
# Instructions a pair, in hundredths, from two runs, so that start and end cancel out.
count=100000
per_pair() { # LABEL PRELOAD [NAME=VALUE...]
    local label=$1 preload=$2 one two
    shift 2
    one=$(instructions "$preload" $count "$@")
    two=$(instructions "$preload" $((2 * count)) "$@")
    figure=$(((two - one) * 100 / count))
    if [ "$one" -eq 0 ] || [ $figure -le 0 ]; then
        fail "$label: valgrind gave no figure"
        finish
    fi
    printf '%-28s %4d.%02d instructions a pair\n' "$label" $((figure / 100)) $((figure % 100))
}
per_pair "libmimalloc alone" "$mimalloc"
# valgrind has no room for the usual reservation; what is measured is the path with one.
# Nor does a record belong here: now and then a start clears away what dead processes left.
reserve='XSIGMA_RESERVE=16G XSIGMA_RECORD=off'
direct=$figure
per_pair "mimalloc, statistics off" "$lib" XSIGMA_CPU_BACKEND=mimalloc $reserve XSIGMA_STATS=0
off=$figure
per_pair "mimalloc, statistics on" "$lib" XSIGMA_CPU_BACKEND=mimalloc $reserve XSIGMA_STATS=1
on=$figure
adds=10 counting=15
mimalloc_serves_all || adds=16 counting=17
[ $off -le $((direct + 100 * adds + 50)) ] || fail "mimalloc, statistics off: more than $adds instructions"
[ $on -le $((off + 100 * counting + 50)) ] ||
    fail "mimalloc, statistics on: more than $counting instructions on top"

per_pair "the C library alone" ""
direct=$figure
per_pair "system, statistics off" "$lib" XSIGMA_CPU_BACKEND=system XSIGMA_RECORD=off XSIGMA_STATS=0
off=$figure
per_pair "system, statistics on" "$lib" XSIGMA_CPU_BACKEND=system XSIGMA_RECORD=off XSIGMA_STATS=1
on=$figure
[ $off -le $((direct + 850)) ] || fail "system, statistics off: more than 8 instructions"
[ $on -le $((off + 2150)) ] || fail "system, statistics on: more than 21 instructions on top"
finish
