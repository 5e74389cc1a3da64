#!/bin/bash
# Known traffic gives exactly those numbers back: by the C interface inside the program (which knows
# what it did, thread by thread), and in the JSON of two runs that differ by a known part.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

traffic=$(program traffic) && pairs=$(program pairs) && flat=$(program json_flat) || exit 1
threads=$(program thread_pairs) && bare=$(program bare_fork) || exit 1
ways=()
for way in _Fork clone SYS_fork SYS_clone SYS_clone3; do
    "$bare" $way 1 >/dev/null && ways+=("$way")
done

check() { # LABEL POLICY ROUTE-AS-WORDS [NAME=VALUE...]
    local label=$1 policy=$2 words field one two
    read -ra words <<<"$3"
    shift 3
    under "$policy" XSIGMA_STATS=1 "XSIGMA_STATS_FILE=$work/t.json" "$@" -- "$traffic" "${words[@]}" >"$work/out" 2>&1 || {
        fail "$label: status $?"
        head -n 20 "$work/out"
        return
    }
    # Two runs that differ by 4000 pairs of malloc(64) and free.
    for n in 1000 5000; do
        under "$policy" "XSIGMA_STATS_FILE=$work/$n.json" "$@" -- "$pairs" "$n" >"$work/out" 2>&1 ||
            fail "$label: pairs: status $?"
    done
    for field in allocations:4000 frees:4000 requested_bytes:256000 reallocs:0 failures:0 realloc_failures:0 live_blocks:0; do
        one=$(json_get "$work/1000.json" "cpu.totals.${field%:*}")
        two=$(json_get "$work/5000.json" "cpu.totals.${field%:*}")
        { [ -n "$one" ] && [ -n "$two" ] && [ $((two - one)) -eq "${field#*:}" ]; } ||
            fail "$label: ${field%:*}: did ${field#*:}, counted $((two - one))"
    done
    # 64 bytes are bin 6 of the size histogram.
    one=$(json_get "$work/1000.json" 'cpu.totals.size_bins[6]')
    two=$(json_get "$work/5000.json" 'cpu.totals.size_bins[6]')
    [ $((two - one)) -eq 4000 ] || fail "$label: size bin 6: did 4000, counted $((two - one))"
    # The back ends add up to the totals.
    for field in allocations frees reallocs requested_bytes live_blocks failures; do
        one=0
        while read -r n; do
            one=$((one + n))
        done < <("$flat" "$work/t.json" | sed -nE "s/^cpu\.backends\[[0-9]+\]\.$field (-?[0-9]+)$/\1/p")
        two=$(json_get "$work/t.json" "cpu.totals.$field")
        [ "$one" = "$two" ] || fail "$label: $field: back ends $one, totals $two"
    done
}

# Counting by threads begins with the first one, though the C library make it for itself.
check_threads() { # POLICY
    local how n one two
    for how in seen unseen; do
        for n in 1000 201000; do
            under "$1" "XSIGMA_STATS_FILE=$work/$n.json" -- "$threads" $how $n >"$work/out" 2>&1 ||
                fail "$1: threads $how: status $?"
        done
        # What they count without knowing of each other may come out right by luck, this not.
        one=$(json_get "$work/1000.json" process.threads_total)
        [ "$one" = 5 ] || fail "$1: threads $how: of 5 threads $one counted"
        for field in allocations frees; do
            one=$(json_get "$work/1000.json" "cpu.totals.$field")
            two=$(json_get "$work/201000.json" "cpu.totals.$field")
            [ $((two - one)) -eq 800000 ] ||
                fail "$1: threads $how: $field: did 800000, counted $((two - one))"
        done
    done
}

# Sets one and two to a field of two runs of which the child of the second makes 99990 pairs more.
bare_field() { # FIELD
    one=$(json_get "$work/10.json" "cpu.totals.$1")
    two=$(json_get "$work/100000.json" "cpu.totals.$1")
}
run_bare() { # POLICY WAY
    local n
    for n in 10 100000; do
        under "$1" "XSIGMA_STATS_FILE=$work/$n.json" -- "$bare" "$2" $n >"$work/out" 2>&1 ||
            fail "$1: $2: status $?: $(cat "$work/out")"
    done
}
# What a child counts that is made past the handlers of fork is not its parent's, and with threads
# such a child lives too. Of one in the parent's memory it is the parent's.
check_bare_forks() { # POLICY
    local way one two field
    for way in "${ways[@]}"; do
        run_bare "$1" "$way"
        for field in allocations frees requested_bytes; do
            bare_field $field
            { [ -n "$one" ] && [ "$one" = "$two" ]; } || fail "$1: $way: $field: $one, and $two with more of the child"
        done
        limit_s=30 under "$1" XSIGMA_STATS_CHILDREN=1 XSIGMA_STATS_FILE="$work/t%p.json" -- "$bare" "$way" 3000 threads >"$work/out" 2>&1 ||
            fail "$1: $way from threads: status $?: $(cat "$work/out")"
    done
    run_bare "$1" shared
    for field in allocations frees; do
        bare_field $field
        [ $((two - one)) -eq 99990 ] || fail "$1: in the parent's memory: $field: did 99990, counted $((two - one))"
    done
    # Nobody sees how this one comes into being, but the core's next look does.
    [ "$1" = bfc ] || return
    run_bare "$1" raw
    bare_field allocations
    [ $((two - one)) -lt 20000 ] || fail "$1: a raw call: of 99990 allocations of the child $((two - one)) are its parent's"
}

all='*:mimalloc'
have_backend mimalloc && ! mimalloc_serves_all && all='16777216:mimalloc *:bfc'
for policy in system bfc mimalloc tbb; do
    have_backend $policy || continue
    steps="*:$policy"
    [ $policy != mimalloc ] || steps=$all
    check $policy $policy "$steps"
    check_threads $policy
    check_bare_forks $policy
done
if have_backend mimalloc && have_backend tbb; then
    check route "$route" '65536:mimalloc 1048576:tbb *:system'
    check "small route" '<=1K:tbb,<=256K:mimalloc,*:system' '1024:tbb 262144:mimalloc *:system'
    check "mimalloc without reservation" mimalloc "$all" XSIGMA_RESERVE=off
fi
have_backend mimalloc && check "own route" "$own_route" '1024:bfc 65536:mimalloc *:bfc'
check "64-byte alignment" system '*:system' XSIGMA_CPU_ALIGN=64
check "bfc, 64-byte alignment" bfc '*:bfc' XSIGMA_CPU_ALIGN=64
for setting in XSIGMA_CPU_CACHE=0 XSIGMA_BFC_COALESCE=0; do
    check "bfc $setting" bfc '*:bfc' $setting
done
have_backend mimalloc && check "mimalloc, 64-byte alignment" mimalloc "$all" XSIGMA_CPU_ALIGN=64

# Without counting the interface says so, and the program's own counts would be wrong.
under system XSIGMA_STATS=0 -- "$traffic" '*:system' >/dev/null 2>&1
[ $? -eq 2 ] || fail "XSIGMA_STATS=0: a snapshot claims to count"
finish
