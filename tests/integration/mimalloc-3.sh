#!/bin/bash
# mimalloc 3: blocks up to 16 MiB are its own, larger or widely aligned ones the own core's, with and
# without the reservation; nothing fails, nothing is said, and forks of threads do not hang. 3.0.1 is refused.
# Always with a library that stands in for it, and with the real one, which XS_MIMALLOC_3 names if it is
# not installed.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

stand_in=$(program libmimalloc_3) && edges=$(program large_edges) && heavy=$(program cache_heavy) &&
    threads=$(program fork_threads) || exit 1

is_refused() { # LIBRARY [NAME=VALUE]
    under mimalloc "XSIGMA_CPU_MIMALLOC_LIBRARY=$1" "${@:2}" XSIGMA_STATS=0 -- /bin/true 2>"$work/err" ||
        fail "3.0.1: status $?"
    { [ "$(wc -l <"$work/err")" -eq 1 ] &&
        grep -q 'using system: mimalloc 3.0.1 hands out a block twice' "$work/err"; } ||
        fail "3.0.1 is used: $(cat "$work/err")"
}
calls() { # BACKEND: in the last report
    grep -oE '"(name": *"[a-z]+"|allocations": *[0-9]+|failures": *[0-9]+)' "$work/r.json" | tr -d '" ' |
        awk -F: -v name="$1" '$1 == "name" { at = $2 } at == name && $1 != "name" { printf "%s ", $2 }'
}
quiet() { # SETTINGS... -- COMMAND...
    under mimalloc "XSIGMA_CPU_MIMALLOC_LIBRARY=$library" "XSIGMA_STATS_FILE=$work/r.json" "$@" >"$work/out" 2>"$work/err" ||
        fail "$*: status $?: $(cat "$work/out")"
    [ ! -s "$work/err" ] || fail "$*: $(cat "$work/err")"
}
serves() { # LIBRARY
    local library=$1 more n failed large large_failed
    for more in XSIGMA_RESERVE=auto XSIGMA_RESERVE=off XSIGMA_MEMORY_LIMIT=1G; do
        quiet $more -- "$edges"
        read -r n failed _ < <(calls mimalloc)
        read -r large large_failed _ < <(calls bfc)
        echo "${library##*/}, $more: mimalloc $n blocks, $failed failed; bfc $large, $large_failed failed"
        { [ "${n:-0}" -ge 10 ] && [ "$failed $large_failed" = '0 0' ]; } || fail "$more: mimalloc served $n, $failed failed"
        [ "$large" = "$(cat "$work/out")" ] || fail "$more: bfc served $large blocks, not $(cat "$work/out")"
    done
    quiet XSIGMA_RESERVE=auto -- "$heavy" 1500 200 2 # more than the first piece of the reservation
    read -r n failed _ < <(calls mimalloc)
    { [ "$failed" = 0 ] && [ "${n:-0}" -ge 1500 ]; } || fail "1.7 GiB: mimalloc served $n, $failed failed"
    quiet XSIGMA_RESERVE=auto -- "$threads"
    quiet XSIGMA_RESERVE=auto -- "$work/api_sizes"
}

cc -std=c11 -O1 -Wall -Wextra -I"$root/include" "$root/tests/programs/linked/api_sizes.c" -o "$work/api_sizes" \
    -L"$(dirname "$lib")" -lxsigma -Wl,-rpath,"$(dirname "$lib")" || fail "api_sizes does not build"

for version in 300 301; do
    is_refused "$stand_in" MIMALLOC_AS=$version
done
serves "$stand_in"
library=${XS_MIMALLOC_3:-$(find_library libmimalloc.so.3)}
if [ -n "$library" ]; then
    case $(mimalloc_version "$library") in
        300 | 301) is_refused "$library" ;;
        *) serves "$library" ;;
    esac
fi
finish
