#!/bin/bash
# What a small process, and a child of it, writes to of the library's variables: as many pages as
# base/compiler.h means them to be. A child of fork pays for each page of ours that it writes to.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

fork_pages=$(program fork_pages) || exit 1
[ "$(getconf PAGESIZE)" = 4096 ] || skip "pages are not of 4 KiB"
# Which calls are timed is by chance, and the first one that is takes a page.
XSIGMA_STATS_LATENCY=off XSIGMA_RECORD=off XSIGMA_STATS_FILE=/dev/null LD_PRELOAD=$lib "$fork_pages" "$lib" >"$work/out" || fail "status $?"
cat "$work/out"
at_most() { # WHAT KIB
    local kib
    kib=$(awk -v what="$1" '$1 == what { print $2 }' "$work/out")
    { [ "${kib:-0}" -ge 4 ] && [ "$kib" -le "$2" ]; } || fail "$1: ${kib:-no} KiB, at most $2 expected"
}
# With a library laid out by another linker or compiler a page or two more are no mistake.
more=8
is_measured_compiler && more=0
at_most process $((36 + more))    # RELRO 2, busy, start, memory, counts, heap, its stacks of blocks, the heap of none
at_most child $((16 + more))      # busy, counts, heap, its stacks of blocks
at_most child-slab $((20 + more)) # and memory
finish
