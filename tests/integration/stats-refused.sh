#!/bin/bash
# Requests that no allocator can meet are failures, and no bytes of them are counted: the numbers of
# two runs, with them and without, differ by the calls alone.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

refused=$(program refused) || exit 1
total() { # FILE FIELD
    json_get "$1" "cpu.totals.$2" || echo 0
}
for what in malloc all; do
    "$refused" $what || fail "refused $what without the library: status $?"
done

check() { # LABEL POLICY [NAME=VALUE...]
    local label=$1 policy=$2 what field one two want
    shift 2
    for what in '' malloc all; do
        # shellcheck disable=SC2086 # no argument where there is none
        under "$policy" XSIGMA_STATS=1 "XSIGMA_STATS_FILE=$work/with-$what.json" "$@" -- "$refused" $what >"$work/out" 2>&1 || {
            fail "$label: refused $what: status $?"
            head -n 5 "$work/out"
            return
        }
    done
    # A refused allocation stays a call; live_blocks is the calls less failures and frees.
    for want in malloc:requested_bytes:0 malloc:failures:11 malloc:allocations:11 malloc:live_blocks:0 \
        malloc:frees:0 malloc:reallocs:0 malloc:realloc_failures:0 'malloc:size_bins[63]:0' \
        all:requested_bytes:0 all:failures:15 all:live_blocks:0 all:realloc_failures:2; do
        IFS=: read -r what field want <<<"$want"
        one=$(total "$work/with-.json" "$field")
        two=$(total "$work/with-$what.json" "$field")
        [ "$((two - one))" = "$want" ] || fail "$label: $what: $field grew by $((two - one)), not $want ($one to $two)"
    done
}
for policy in "${policies[@]}"; do
    check "$policy" "$policy"
done
for policy in system bfc; do
    check "$policy, 64-byte alignment" $policy XSIGMA_CPU_ALIGN=64
done
finish
