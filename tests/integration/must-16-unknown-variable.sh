#!/bin/bash
# An unknown XSIGMA_ variable is named once and does no harm.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

under system XSIGMA_X=banana XSIGMA_STATS=0 -- /bin/true >"$work/out" 2>"$work/err"
rc=$?
[ $rc -eq 0 ] || fail "status $rc"
[ -s "$work/out" ] && fail "standard output is not empty"
{ [ "$(grep -c XSIGMA_X "$work/err")" -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ]; } || {
    fail "wanted one line that names XSIGMA_X, got:"
    cat "$work/err"
}
under system XSIGMA_X=banana XSIGMA_STATS=0 -- sh -c 'ls / >/dev/null; sh -c "ls / >/dev/null; true"; true' 2>"$work/err"
[ "$(grep -c XSIGMA_X "$work/err")" -eq 1 ] || fail "named $(grep -c XSIGMA_X "$work/err") times in a tree of processes"
finish
