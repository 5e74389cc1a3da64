#!/bin/bash
# Zeroed arrays of which a program uses little take little memory, also where others lay before, and
# under a filter that kills for mincore, as systemd's for services does.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

sparse=$(program sparse) && run=$(program seccomp_run) || exit 1
without=$("$sparse") || fail "without the library: status $?"
for hardened in off check; do
    got=$(under bfc XSIGMA_CPU_HARDENED=$hardened XSIGMA_STATS=0 XSIGMA_CPU_HUGE_PAGES=off "$sparse" 2>"$work/err") || fail "$hardened: status $?: $(head -n 1 "$work/err")"
    echo "$hardened: $got KiB, without the library $without KiB"
    # Two of 2 MiB, and the 40 MiB that were freed a moment before.
    [ "${got:-1000000}" -lt 61440 ] || fail "$hardened: $got KiB resident where 4 MiB are used"
done
if "$run" kill mincore true; then
    got=$("$run" kill mincore env LD_PRELOAD="$lib" XSIGMA_STATS=0 XSIGMA_CPU_HUGE_PAGES=off "$sparse" 2>"$work/err") ||
        fail "under a filter: status $?: $(head -n 1 "$work/err")"
    echo "under a filter: $got KiB"
    [ "${got:-1000000}" -lt 61440 ] || fail "under a filter: $got KiB resident where 4 MiB are used"
fi
finish
