#!/bin/bash
# Free memory goes back by itself after XSIGMA_CPU_DECAY, while the program goes on with small blocks,
# and not before; but what a growing block has outgrown goes when it is worth it.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

decay=$(program decay) || exit 1
run() { # LABEL DECAY BLOCK_BYTES MS BELOW_KIB - sets full and left
    read -r full left < <(under bfc XSIGMA_STATS=0 "XSIGMA_CPU_DECAY=$2" -- "$decay" "$3" "$4" "$5" 2>"$work/err") || {
        fail "$1: no result"
        head -n 5 "$work/err"
        full=0 left=0
    }
    [ -s "$work/err" ] && fail "$1: $(head -n 3 "$work/err")"
    echo "$1: $full KiB, at the end $left KiB"
    [ "$full" -ge 262144 ] || fail "$1: $full KiB resident with 256 MiB allocated"
}
for size in 65536 100 4000; do
    run "blocks of $size B, 50 ms" 50ms $size 200 65536
    [ "$left" -lt 65536 ] || fail "blocks of $size B: $left KiB stay for ever"
    run "blocks of $size B, an hour" 60min $size 500 99999999
    [ "$left" -ge 200000 ] || fail "blocks of $size B: $left KiB after half a second, with an hour to go"
done

# 63 MiB are outgrown before the last step, and need not stay beside its 192.
doubling=$(program doubling) || exit 1
beyond=$(under bfc XSIGMA_STATS=0 XSIGMA_CPU_DECAY=60min -- "$doubling")
echo "a block that doubles to 128 MiB: $beyond KiB beyond it and the one before"
[ "${beyond:-99999}" -lt 24576 ] || fail "outgrown blocks stay beside the one that grows: ${beyond:-?} KiB"
finish
