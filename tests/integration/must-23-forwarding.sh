#!/bin/bash
# What the library adds to a malloc and free of 64 bytes, in instructions: 10 in front of the same
# libmimalloc, 16 where that is version 3, which may need room for any block, 8 in front of the C
# library's own. For counting on top of that 4 in a process of one thread, 14 where only what malloc
# returns tells that a call failed; and where there are threads 15, 18 with version 3, 21.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind
have_backend mimalloc || skip "libmimalloc is not installed"
mimalloc=$(find_mimalloc)

pairs=$(program pairs) && threads=$(program thread_pairs) || exit 1
run=("$pairs")
instructions() { # PRELOAD COUNT [NAME=VALUE...]
    local preload=$1 count=$2 n
    shift 2
    n=$(timeout --foreground 100 env "$@" "LD_PRELOAD=$preload" \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "${run[@]}" "$count" ${late:+"$late"} 2>&1 |
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
    printf '%-33s %4d.%02d instructions a pair\n' "$label" $((figure / 100)) $((figure % 100))
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
# The pairs are main's, made when a thread has come and gone.
with_threads() { # BACKEND
    run=("$threads" seen) late=alone
    per_pair "$1, threads, statistics off" "$lib" "XSIGMA_CPU_BACKEND=$1" $reserve XSIGMA_STATS=0
    off_many=$figure
    per_pair "$1, threads, statistics on" "$lib" "XSIGMA_CPU_BACKEND=$1" $reserve XSIGMA_STATS=1
    on_many=$figure
    run=("$pairs") late=''
}
with_threads mimalloc
adds=10 counting=4 counting_many=15
mimalloc_serves_all || adds=16 counting=4 counting_many=18
[ $off -le $((direct + 100 * adds + 50)) ] || fail "mimalloc, statistics off: more than $adds instructions"
[ $on -le $((off + 100 * counting + 50)) ] ||
    fail "mimalloc, statistics on: more than $counting instructions on top"
[ $on_many -le $((off_many + 100 * counting_many + 50)) ] ||
    fail "mimalloc, threads, statistics on: more than $counting_many instructions on top"

per_pair "the C library alone" ""
direct=$figure
per_pair "system, statistics off" "$lib" XSIGMA_CPU_BACKEND=system XSIGMA_RECORD=off XSIGMA_STATS=0
off=$figure
per_pair "system, statistics on" "$lib" XSIGMA_CPU_BACKEND=system XSIGMA_RECORD=off XSIGMA_STATS=1
on=$figure
with_threads system
[ $off -le $((direct + 850)) ] || fail "system, statistics off: more than 8 instructions"
[ $on -le $((off + 1450)) ] || fail "system, statistics on: more than 14 instructions on top"
[ $on_many -le $((off_many + 2150)) ] ||
    fail "system, threads, statistics on: more than 21 instructions on top"
finish
