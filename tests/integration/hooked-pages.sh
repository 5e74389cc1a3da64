#!/bin/bash
# A program whose own mmap, munmap and madvise allocate: none of the core's locks is held across
# them, so it neither hangs nor crashes.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

hooked=$(program hooked_pages) || exit 1
limit_s=40
for settings in XSIGMA_CPU_DECAY=20ms XSIGMA_CPU_DECAY=0 'XSIGMA_CPU_DECAY=20ms XSIGMA_CPU_IDLE_THREAD=0' \
    'XSIGMA_CPU_DECAY=20ms XSIGMA_BFC_LIMIT=256M'; do
    # shellcheck disable=SC2086 # words on purpose
    out=$(under bfc XSIGMA_STATS=0 $settings -- "$hooked" 2>"$work/err")
    rc=$?
    echo "$settings: $out"
    [ "$rc $out" = '0 1 1' ] || fail "$settings: status $rc, \"$out\"; $(head -n 3 "$work/err")"
done
finish
