#!/bin/bash
# A million forks out of busy threads: every child can allocate, and ends. Other back ends and the
# hardened core have a fiftieth of that, or as many as they get done in a tenth of the time.
# XS_FORKS=N: others;
# XS_FORK_SECONDS=N: as many of them as there is time for, to be seen in the output;
# XS_FORK_PATIENCE=N: a child is hung after so many seconds, where the machine may stand still.
# timeout: 7000
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

forks=${XS_FORKS:-1000000}
seconds=${XS_FORK_SECONDS:-5500}
many=$(program fork_many) || exit 1
limit_s=6000

storm() { # FORKS SECONDS POLICY [NAME=VALUE]
    local started=$EPOCHREALTIME rc ms
    under "$3" XSIGMA_STATS=0 "${@:4}" -- "$many" "$1" "$2" "${XS_FORK_PATIENCE:-120}" >"$work/out" 2>"$work/err"
    rc=$?
    ms=$(((${EPOCHREALTIME/./} - ${started/./}) / 1000))
    n=$(sed -n 's/^forked \([0-9]*\),.*/\1/p' "$work/out")
    n=${n:-0}
    echo "$*: $(cat "$work/out"), $((n * 1000 / ms)) a second"
    { [ $rc -eq 0 ] && [ "$n" -gt 0 ] && [ "$(cat "$work/out")" = "forked $n, well $n, hung 0, otherwise 0" ]; } ||
        fail "$*: status $rc: $(tail -n 3 "$work/err")"
}
storm "$forks" "$seconds" bfc
[ "$n" -eq "$forks" ] || [ -n "${XS_FORK_SECONDS-}" ] || fail "only $n in $seconds s"
for policy in "${policies[@]}"; do
    [ "$policy" = bfc ] || storm $((forks / 50)) $((seconds / 10)) "$policy"
done
storm $((forks / 50)) $((seconds / 10)) bfc XSIGMA_CPU_HARDENED=full
finish
