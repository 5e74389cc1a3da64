#!/bin/bash
# Where the system refuses memory to the own core, the system's malloc is asked last: by brk it may have
# some. Each such block is counted, and freed where it came from. Under the least of limits the core
# takes nothing at all, and oneTBB is not opened.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need sort
lent=$(program lent) || exit 1

sums() { # FILE
    local field
    for field in allocations reallocs frees failures live_blocks; do json_get "$1" cpu.totals.$field; done | xargs
}
for settings in A=1 XSIGMA_CPU_ALIGN=64 XSIGMA_SAMPLE=1; do
    for refuse in 0 1; do
        out=$(under bfc "$settings" XSIGMA_STATS_FILE="$work/$refuse.json" -- "$lent" $refuse 2>&1)
        [ "$out" = '600 blocks' ] || fail "$settings, refused: $refuse: $out"
    done
    n=$(json_get "$work/1.json" cpu.core.lent)
    [ "$n" -gt 100 ] || fail "$settings: $n blocks lent"
    [ "$(json_get "$work/0.json" cpu.core.lent)" = 0 ] || fail "$settings: lent without need"
    [ "$(sums "$work/0.json")" = "$(sums "$work/1.json")" ] ||
        fail "$settings: $(sums "$work/0.json") calls, with lent ones $(sums "$work/1.json")"
done
out=$(under bfc XSIGMA_STATS=1 XSIGMA_STATS_FILE= -- "$lent" 1 2>&1 >/dev/null)
grep -Eq "bfc: [0-9]+ requests? w(as|ere) served by the system's malloc, as the kernel refused memory" <<<"$out" ||
    fail "no line in the report: $out"
# A limit of the user's holds, and a block without a seal would not do.
for settings in XSIGMA_MEMORY_LIMIT=1G XSIGMA_CPU_HARDENED=check; do
    out=$(under bfc XSIGMA_STATS=0 $settings -- "$lent" 1 2>/dev/null)
    [[ $out == *'Cannot allocate memory' ]] || fail "refused, and $settings: $out"
done

seq 2000 | sort -R --random-source=/proc/self/exe >"$work/lines"
sort -n "$work/lines" >"$work/sorted"
# Address space holds the program's own libraries too, 7 MiB of them where sort can compute checksums.
least=2000
until (ulimit -v $least && sort -n --parallel=1 "$work/lines" >"$work/out" 2>&1) || [ $least -ge 20000 ]; do
    least=$((least + 500))
done
for limit in -d2500 -d4000 -d7000 -v$((least + 4000)) -v$((least + 6000)); do
    for policy in bfc tbb; do
        out=$( (ulimit ${limit:0:2} "${limit:2}" &&
            under $policy XSIGMA_STATS=0 -- sort -n --parallel=1 "$work/lines" 2>"$work/err") | cksum)
        [ "$out" = "$(cksum <"$work/sorted")" ] || fail "sort under ulimit $limit with $policy: $(cat "$work/err")"
        [ $policy = tbb ] || [ ! -s "$work/err" ] || fail "sort under ulimit $limit says: $(cat "$work/err")"
    done
done
finish
