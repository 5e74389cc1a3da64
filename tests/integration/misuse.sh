#!/bin/bash
# XSIGMA_CPU_HARDENED: every way to misuse the heap ends with its own message and signal, and the
# message says where the block was allocated and freed, as addr2line understands it; a program without
# error runs on in silence.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need addr2line
misuse=$(program misuse) || exit 1
misuse_new=$(program misuse_new) || exit 1
made_code=$(program made_code) || exit 1
ulimit -c 0

seen=0
run() { # SETTINGS PROGRAM CASE [SIZE]
    # shellcheck disable=SC2086 # words on purpose
    (under bfc $1 "XSIGMA_STATS_FILE=$work/report" -- "${@:2}") >"$work/out" 2>"$work/err"
    rc=$?
    seen=$((seen + 1))
}

# The function of the first frame under "LABEL by".
function_of() { # LABEL
    local at
    at=$(sed -n "/^xsigma:   $1 by\$/{n;s/^xsigma:     #0 //p}" "$work/err" | head -n 1)
    [ -n "$at" ] && addr2line -f -e "${at%+0x*}" "0x${at##*+0x}" | head -n 1
}

wrong() { # WHAT
    fail "$1: status $rc, output $(head -c 100 "$work/out"), standard error:"
    head -n 12 "$work/err"
}

# caught SETTINGS STATUS MESSAGE FUNCTIONS PROGRAM CASE [SIZE]; FUNCTIONS: allocated,freed,found (- = any)
caught() {
    local settings=$1 status=$2 message=$3 functions=$4 f label
    shift 4
    run "$settings" "$@"
    if [ $rc -ne "$status" ] || [ -s "$work/out" ] || ! head -n 1 "$work/err" | grep -qE "^xsigma: $message: 0x[0-9a-f]+\$"; then
        wrong "$* under $settings: wanted status $status and \"$message\""
        return
    fi
    for label in allocated freed 'found in a call'; do
        f=${functions%%,*}
        functions=${functions#*,}
        [ "$f" = - ] || [ "$(function_of "$label")" = "$f" ] || wrong "$* under $settings: $label not by $f but $(function_of "$label")"
    done
}

# Ends the program only where that is wanted; else it is told of once, or not at all.
mismatch() { # SETTINGS MESSAGE PROGRAM CASE
    caught "$1 XSIGMA_CPU_MISMATCH=end" 134 "$2" -,-,- "${@:3}"
    run "$1" "${@:3}"
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = survived ] && [ "$(wc -l <"$work/err")" = 1 ] &&
        grep -qE "^xsigma\[[0-9]+\]: $2: 0x[0-9a-f]+, 100 bytes, allocated by /.*\+0x[0-9a-f]+, found in a call by /.*\+0x[0-9a-f]+; going on \(XSIGMA_CPU_MISMATCH\)\$" "$work/err"; } ||
        wrong "${*:3} under $1: wanted one line \"$2\" and no end"
    run "$1 XSIGMA_CPU_MISMATCH=off" "${@:3}"
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = survived ] && [ ! -s "$work/err" ]; } ||
        wrong "${*:3} under $1, off: wanted no word"
}

# A stack goes on to the program's start.
reaches_main() { # LABEL SETTINGS
    local frames f
    frames=$(sed -n "/^xsigma:   $1 by\$/,/^xsigma:   [^ ]/s/^xsigma:     #[0-9]* //p" "$work/err")
    for f in $frames; do
        [ "$(addr2line -f -e "${f%+0x*}" "0x${f##*+0x}" | head -n 1)" = main ] && return
    done
    wrong "$1 under $2: main is not in its stack"
}

sealed='XSIGMA_CPU_HARDENED=check|XSIGMA_CPU_HARDENED=full|XSIGMA_CPU_HARDENED=check XSIGMA_CPU_GUARD_SAMPLE=3|XSIGMA_CPU_HARDENED=full XSIGMA_CPU_ALIGN=64|XSIGMA_CPU_HARDENED=check XSIGMA_SAMPLE=1|XSIGMA_CPU_HARDENED=full XSIGMA_SAMPLE=1'
IFS='|' read -ra sealed <<<"$sealed"
for s in "${sealed[@]}"; do
    for size in 100 7 5000; do
        caught "$s" 134 'double free' allocate_here,free_here,misuse_here "$misuse" double-free $size
        caught "$s" 134 'free of a pointer inside a block' allocate_here,-,misuse_here "$misuse" interior $((size + 30))
        caught "$s" 134 'write beyond the end of a block' -,-,misuse_here "$misuse" overflow $size
    done
    caught "$s" 134 'double free' allocate_here,free_here,misuse_here "$misuse" double-free-of-thread
    caught "$s" 134 'double free' allocate_here,free_here,- "$misuse" realloc-of-freed
    caught "$s" 134 'double free' allocate_here,free_here,- "$misuse" usable-size-of-freed
    caught "$s" 134 'free of a pointer inside a block' -,-,misuse_here "$misuse" odd
    caught "$s" 134 'free of a pointer to the stack' -,-,misuse_here "$misuse" stack
    caught "$s" 134 'free of a pointer to static data' -,-,misuse_here "$misuse" static
    caught "$s" 134 'write beyond the end of a block' -,-,misuse_here "$misuse" overflow-by-seven
    # Seen in the block before, or in a sampled one itself.
    caught "$s" 134 'write (beyond the end|before the start) of a block' -,-,- "$misuse" underflow
    e="$s XSIGMA_CPU_MISMATCH=end"
    caught "$e" 134 'delete with a wrong size' allocate_here,-,- "$misuse" wrong-size
    mismatch "$s" 'free of a block from new' "$misuse_new" free-of-new
    mismatch "$s" 'free of a block from new' "$misuse_new" realloc-of-new
    mismatch "$s" 'delete of a block from malloc' "$misuse_new" delete-of-malloc
    mismatch "$s" 'delete of a block from new\[\]' "$misuse_new" delete-of-new-array
    mismatch "$s" 'delete\[\] of a block from new' "$misuse_new" delete-array-of-new
    mismatch "$s" 'delete of a block from aligned new' "$misuse_new" delete-of-aligned-new
    mismatch "$s" 'aligned delete of a block from new' "$misuse_new" aligned-delete-of-new
    mismatch "$s" 'delete with a wrong size' "$misuse_new" wrong-size
    mismatch "$s" 'free of a block from new' "$misuse_new" many
    caught "$s" 134 'double free' -,-,main "$misuse_new" double-delete
    # What is let pass hides nothing else.
    caught "$s" 134 'write beyond the end of a block' -,-,- "$misuse_new" overflow-of-new
done
caught XSIGMA_CPU_HARDENED=check 134 'free of a pointer inside a block' allocate_here,-,misuse_here "$misuse" interior-page

# What only waiting, filling and guard pages show.
caught XSIGMA_CPU_HARDENED=full 134 'write to a freed block' allocate_here,free_here,- "$misuse" write-after-free
for s in XSIGMA_CPU_HARDENED=full 'XSIGMA_CPU_HARDENED=full XSIGMA_STATS=0 XSIGMA_GPU=0'; do
    caught "$s" 134 'write to a freed block' allocate_here,free_here,- "$misuse" late-write
done
guarded='XSIGMA_CPU_GUARD_SAMPLE=1'
caught "$guarded" 139 'use after free' allocate_here,free_here,write_after_free "$misuse" write-after-free
caught "$guarded" 139 'use after free' allocate_here,free_here,read_after_free "$misuse" read-after-free
caught "$guarded" 139 'access beyond the end of a block' allocate_here,-,read_at "$misuse" read-beyond
caught "$guarded" 139 'access before the start of a block' allocate_here,-,read_at "$misuse" read-before
caught "$guarded" 134 'write before the start of a block' allocate_here,-,misuse_here "$misuse" write-before
caught "$guarded" 134 'double free' allocate_here,free_here,misuse_here "$misuse" double-free
caught "$guarded" 134 'write beyond the end of a block' allocate_here,-,misuse_here "$misuse" overflow
for s in check full; do
    caught "XSIGMA_CPU_HARDENED=$s $guarded" 134 'write beyond the end of a block' -,-,- "$misuse_new" overflow-of-new
done
caught XSIGMA_CPU_HARDENED=full 139 'use after free' allocate_here,free_here,read_after_free "$misuse" read-after-free 100000
caught XSIGMA_CPU_HARDENED=full 139 'access beyond the end of a block' allocate_here,-,read_at "$misuse" read-beyond 102400
for s in XSIGMA_CPU_HARDENED=full 'XSIGMA_CPU_HARDENED=full XSIGMA_CPU_GUARD_SAMPLE=3'; do
    caught "$s" 134 'write beyond the end of a block' -,-,misuse_here "$misuse" grown-overflow
    caught "$s" 139 'access beyond the end of a block' -,-,grown_beyond "$misuse" grown-beyond
    caught "$s" 139 'use after free' -,-,grown_stale "$misuse" grown-stale
done
for s in XSIGMA_CPU_HARDENED=full "$guarded" "XSIGMA_CPU_HARDENED=check $guarded"; do
    caught "$s" 134 'double free' allocate_here,free_here,misuse_here "$misuse" double-free
    for label in 'found in a call' allocated freed; do
        reaches_main "$label" "$s"
    done
done
for s in off check 'full XSIGMA_CPU_QUARANTINE=0'; do
    caught "XSIGMA_CPU_HARDENED=$s" 134 'corrupted free list' -,-,- "$misuse" broken-list
done

# Memory that is nobody's: the C library says so itself, or the page before it is missing.
for s in check full; do
    run XSIGMA_CPU_HARDENED=$s "$misuse" mapped
    { [ $rc -eq 134 ] && grep -qE 'free\(\): invalid|munmap_chunk\(\): invalid|free of a pointer that is no block' "$work/err"; } ||
        wrong "mapped under $s"
done

for s in "${sealed[@]}" "$guarded" XSIGMA_CPU_GUARD_SAMPLE=7; do
    for p in "$misuse" "$misuse_new"; do
        run "$s" "$p" none
        { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = survived ] && [ ! -s "$work/err" ]; } || wrong "$p none under $s"
    done
done

# Code without tables on the stack, whose memory is gone.
for s in "${sealed[@]}" "$guarded"; do
    run "$s" "$made_code"
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = 'called from made code' ] && [ ! -s "$work/err" ]; } || wrong "made_code under $s"
done

# Said once where it can have no effect.
run 'XSIGMA_CPU_BACKEND=system XSIGMA_CPU_HARDENED=check' "$misuse" none
grep -qE '^xsigma\[[0-9]+\]: XSIGMA_CPU_HARDENED .*without bfc$' "$work/err" || wrong "no word on system"
echo "$seen runs"
finish
