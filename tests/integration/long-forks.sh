#!/bin/bash
# A million forks out of busy threads: every child can allocate, and ends. XS_FORKS=N: others;
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
    local started=$EPOCHREALTIME rc ms n
    under "$3" XSIGMA_STATS=0 "${@:4}" -- "$many" "$1" "$2" "${XS_FORK_PATIENCE:-120}" >"$work/out" 2>"$work/err"
    rc=$?
    ms=$(((${EPOCHREALTIME/./} - ${started/./}) / 1000))
    n=$(sed -n 's/^forked \([0-9]*\),.*/\1/p' "$work/out")
    echo "$*: $(cat "$work/out"), $((${n:-0} * 1000 / ms)) a second"
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = "forked $n, well $n, hung 0, otherwise 0" ]; } ||
        fail "$*: status $rc: $(tail -n 3 "$work/err")"
    [ "${n:-0}" -eq "$1" ] || [ -n "${XS_FORK_SECONDS-}" ] || fail "$*: only ${n:-none} in $2 s"
}
storm "$forks" "$seconds" bfc
for policy in "${policies[@]}"; do
    [ "$policy" = bfc ] || storm $((forks / 50)) $((seconds / 10)) "$policy"
done
storm $((forks / 50)) $((seconds / 10)) bfc XSIGMA_CPU_HARDENED=full
finish
