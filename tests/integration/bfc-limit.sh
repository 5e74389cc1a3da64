#!/bin/bash
# XSIGMA_BFC_LIMIT bounds what the own core takes: a program that meets the limit gets NULL and
# ENOMEM, goes on, and the report says how often and how much. With XSIGMA_BFC_RETRY an allocation
# waits for what another thread frees.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

bfc_limit=$(program bfc_limit) && bfc_retry=$(program bfc_retry) || exit 1

mib=1048576
bfc() { # FILE FIELD: of the back end in a report
    local i
    for i in 0 1 2 3 4 5; do
        if [ "$(json_get "$1" "cpu.backends[$i].name")" = bfc ]; then
            json_get "$1" "cpu.backends[$i].$2"
            return
        fi
    done
}
wants() { # LABEL FIELD GOT WANT
    [ "$3" = "$4" ] || fail "$1: $2 is $3 in the report, not $4"
}

for size in 1024 102400 1048576; do
    label="blocks of $size B"
    live='' again='' nulls=''
    under bfc XSIGMA_BFC_LIMIT=64M "XSIGMA_STATS_FILE=$work/$size.json" "$bfc_limit" $size >"$work/out" 2>"$work/err"
    rc=$?
    read -r live again nulls <"$work/out"
    if [ $rc -ne 0 ] || [ -z "$nulls" ]; then
        fail "$label: status $rc: $(cat "$work/out" "$work/err")"
        continue
    fi
    echo "$label: $live B, then $again B more; $nulls times none"
    { [ "$live" -le $((64 * mib)) ] && [ "$live" -ge $((48 * mib)) ]; } ||
        fail "$label: the first NULL came with $live B live"
    [ "$again" -ge $((live * 9 / 20)) ] || fail "$label: of half of $live B freed, $again B could be had again"
    wants "$label" failures "$(bfc "$work/$size.json" failures)" "$nulls"
    wants "$label" realloc_failures "$(bfc "$work/$size.json" realloc_failures)" 1
    wants "$label" live_blocks "$(bfc "$work/$size.json" live_blocks)" 0
    [ "$(bfc "$work/$size.json" reserved_peak_bytes)" -le $((64 * mib)) ] || fail "$label: more than the limit was reserved"
    for want in failures:$((nulls + 1)) largest_failure_bytes:$((200 * mib)) last_failure_bytes:$size limit_bytes:$((64 * mib)); do
        wants "$label" "core.${want%:*}" "$(json_get "$work/$size.json" "cpu.core.${want%:*}")" "${want#*:}"
    done
    under bfc XSIGMA_BFC_LIMIT=64M XSIGMA_STATS=1 "$bfc_limit" $size >"$work/out" 2>"$work/err"
    grep -A 1 -E '^FAILURES' "$work/err" | tr -s ' \n' ' ' |
        grep -qE "FAILURES bfc: $nulls allocations and 1 reallocations? returned NULL; the largest of 200 MiB, limit 64.0 MiB" || {
        fail "$label: the report does not say how often and how large:"
        head -n 8 "$work/err"
    }
    [ "$again" -le $((64 * mib - live / 2)) ] || fail "$label: $again B more are above the limit"
done

# Without growth there is one region, and what is got at start besides.
under bfc XSIGMA_BFC_GROWTH=0 XSIGMA_BFC_INITIAL=64M XSIGMA_PREFAULT=16M "XSIGMA_STATS_FILE=$work/one.json" "$bfc_limit" 102400 >"$work/out" 2>"$work/err" ||
    fail "without growth: status $?: $(cat "$work/out" "$work/err")"
read -r live _ <"$work/out"
{ [ "$live" -le $((80 * mib)) ] && [ "$live" -ge $((64 * mib)) ]; } || fail "64 MiB and 16 MiB at start hold $live B"
wants "without growth" reserved_peak_bytes "$(bfc "$work/one.json" reserved_peak_bytes)" $((80 * mib))

retry() { # WANT RETRY meanwhile|after
    local out
    out=$(under bfc XSIGMA_STATS=0 XSIGMA_LOG=off XSIGMA_BFC_LIMIT=64M "XSIGMA_BFC_RETRY=$2" "$bfc_retry" "$3" 2>&1)
    [ "$out" = "$1" ] || fail "XSIGMA_BFC_RETRY=$2, freed $3: $out, not $1"
}
retry given 20s meanwhile
retry refused 0 after
retry refused 100ms after
finish
