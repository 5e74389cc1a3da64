#!/bin/bash
# The contract programs (contract, new, new_replaced) over every back end and over routes, with
# and without statistics; and without a preload, since glibc defines the truth.
# contract.sh [CASE]: one case, under every policy.
# timeout: 600
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

programs=()
for name in contract new new_replaced; do
    programs+=("$(program contract/$name)") || exit 1
done

run() { # LABEL POLICY [NAME=VALUE...]
    local label=$1 policy=$2 p
    shift 2
    for p in "${programs[@]}"; do
        if [ -n "${only-}" ] && ! "$p" --list | grep -qx -e "$only"; then
            continue
        fi
        if [ "$policy" = glibc ]; then
            timeout --foreground 120 "$p" ${only:+"$only"} >"$work/out" 2>&1
        else
            limit_s=120 under "$policy" CONTRACT_FULL_FAMILY=1 "$@" -- "$p" ${only:+"$only"} >"$work/out" 2>&1
        fi || {
            fail "$label: ${p##*/}"
            grep -E '^(FAIL|.*\.(h|c|cc):[0-9]+:)' "$work/out" | head -n 40
        }
    done
}
only=${1-}

run "plain glibc" glibc
small='<=1K:tbb,<=256K:mimalloc,*:system'
for stats in auto 0; do
    for policy in "${policies[@]}" "$small" "$own_route"; do
        run "$policy STATS=$stats" "$policy" XSIGMA_STATS=$stats
    done
    run "mimalloc RESERVE=off STATS=$stats" mimalloc XSIGMA_RESERVE=off XSIGMA_STATS=$stats
done
for policy in system mimalloc tbb "$small"; do
    run "$policy ALIGN=64" "$policy" XSIGMA_CPU_ALIGN=64
done
run "system ALIGN=4096" system XSIGMA_CPU_ALIGN=4096
run "mimalloc ALIGN=1024 STATS=0" mimalloc XSIGMA_CPU_ALIGN=1024 XSIGMA_STATS=0
for setting in "${bfc_settings[@]}" "${hardened_settings[@]}"; do
    # shellcheck disable=SC2086 # words on purpose
    run "bfc $setting" bfc $setting
done
run "$own_route HARDENED=full" "$own_route" XSIGMA_CPU_HARDENED=full
run "DISABLE=1" system XSIGMA_DISABLE=1
finish
