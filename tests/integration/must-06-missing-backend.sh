#!/bin/bash
# A back end whose library is missing costs one line; the program runs on the next best.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

one_line() { # LABEL POLICY NAME=VALUE LIBRARY
    local label=$1 policy=$2 setting=$3 missing=$4 rc
    under "$policy" "$setting" XSIGMA_STATS=0 -- /bin/true >"$work/out" 2>"$work/err"
    rc=$?
    [ $rc -eq 0 ] || fail "$label: status $rc"
    [ -s "$work/out" ] && fail "$label: standard output is not empty"
    if [ "$(wc -l <"$work/err")" -ne 1 ] || ! grep -q "$missing" "$work/err"; then
        fail "$label: wanted one line that names $missing, got:"
        cat "$work/err"
    fi
}
one_line mimalloc mimalloc XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so libnothere.so
one_line tbb tbb XSIGMA_CPU_TBB_LIBRARY=libnothere.so libnothere.so
one_line route '<=64K:mimalloc,*:system' XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so libnothere.so
# A library of that name that is something else; of several the first that is there.
one_line wrong mimalloc XSIGMA_CPU_MIMALLOC_LIBRARY=libm.so.6 mi_malloc
one_line second mimalloc 'XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so:libm.so.6' 'libm.so.6 has no function mi_malloc'
one_line none mimalloc 'XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so:libnorthere.so' 'libnothere.so: .*libnorthere.so: '

# The family still works, and children say nothing more.
under mimalloc XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so -- "$(program contract/contract)" overflow >/dev/null 2>&1 ||
    fail "the program does not work without the back end"
under mimalloc XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so XSIGMA_STATS=0 -- \
    sh -c 'ls / >/dev/null; sh -c "ls / >/dev/null"; true' 2>"$work/err"
[ "$(grep -c libnothere "$work/err")" -eq 1 ] || fail "said $(grep -c libnothere "$work/err") times in a tree"
# Strict: the program does not start.
under mimalloc XSIGMA_CPU_MIMALLOC_LIBRARY=libnothere.so XSIGMA_STRICT=1 -- echo started >"$work/out" 2>"$work/err"
rc=$?
{ [ $rc -eq 78 ] && ! grep -q started "$work/out"; } || fail "XSIGMA_STRICT=1: status $rc, not 78"
finish
