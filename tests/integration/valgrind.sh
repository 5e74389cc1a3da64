#!/bin/bash
# Preloaded by hand under valgrind: tools that serve malloc themselves are left alone, with a line, and
# find no fault that is not the program's; the others meet us as usual.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind

counts=$(program fork_counts) || exit 1
want=$("$counts")
tool() { # TOOL
    (cd "$work" && timeout 120 env "LD_PRELOAD=$lib" XSIGMA_STATS=1 "XSIGMA_STATS_FILE=$work/$1.json" \
        valgrind -q --tool="$1" ${errors:+--error-exitcode=9} "$counts") >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = "$want" ]; } || fail "$1: status $rc, output $(cat "$work/out"): $(head -n 20 "$work/err")"
}
for t in memcheck helgrind drd massif dhat; do
    errors=''
    [[ $t =~ memcheck|helgrind|drd ]] && errors=yes
    tool $t
    [ "$(grep -c "vgpreload_$t.*brings its own malloc, so XSigma stands aside" "$work/err")" -eq 1 ] ||
        fail "$t: not said: $(head -n 5 "$work/err")"
    [ "$(grep -c '^xsigma\[' "$work/err")" -eq 1 ] || fail "$t: more than that: $(cat "$work/err")"
    [ "$(json_get "$work/$t.json" process.passive)" = true ] || fail "$t: the report does not say that we stand aside"
done
errors=''
for t in callgrind lackey; do
    tool $t
    grep -q '^xsigma\[' "$work/err" && fail "$t: $(grep '^xsigma\[' "$work/err")"
    [ "$(json_get "$work/$t.json" cpu.totals.allocations)" -ge 3000 ] || fail "$t: no allocations in the report"
done
finish
