#!/bin/bash
# 1 GiB allocated, written to and freed: after malloc_trim(0) the process is small again.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

trim_back=$(program trim_back) || exit 1
check() { # LABEL BLOCK_BYTES MIB [other|each]
    local label=$1 full left
    shift
    read -r full left < <(under bfc XSIGMA_STATS=0 "$trim_back" "$@" 2>"$work/err") || {
        fail "$label: no result"
        head -n 5 "$work/err"
        return
    }
    echo "$label: $full KiB, after the trim $left KiB"
    [ "$full" -ge $(($2 * 1024)) ] || fail "$label: $full KiB resident with $2 MiB allocated"
    [ "$left" -lt 51200 ] || fail "$label: $left KiB resident after the trim"
}
check "blocks of 64 KiB" 65536 1024
check "blocks of 100 B" 100 1024
check "one block" 1073741824 1024
check "blocks of 64 KiB of a thread that ended" 65536 256 other
check "blocks of 100 B of a thread that ended" 100 256 other
# What the heaps of ended threads keep for reuse is little each, and much of many.
check "blocks of 64 KiB of 64 threads" 65536 256 each
check "blocks of 1000 B of 64 threads" 1000 256 each
check "blocks of 6 MiB" 6291456 240
# The report tells the most that there was, which is neither what is in use at the end nor all that was got.
under bfc "XSIGMA_STATS_FILE=$work/report" -- "$trim_back" 65536 100 >"$work/out" || fail "status $?"
most=$(sed -nE 's/^  bfc: at most ([0-9]+)( MiB|\.[0-9]+ MiB) in use;.*/\1/p' "$work/report")
{ [ "${most:-0}" -ge 99 ] && [ "$most" -le 104 ]; } || fail "of 100 MiB the report has '$most' as the most in use: $(grep -m 1 'bfc: ' "$work/report")"
finish
