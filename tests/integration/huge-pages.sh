#!/bin/bash
# XSIGMA_CPU_HUGE_PAGES=auto: a large heap is looked at, and the report says what was found; a small one
# is not, nor is any with off. What a process
# has in its heap stays the same, its child's too, and under a limit on address space.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need python3
run=$(program seccomp_run) || exit 1

fill='
import os, sys
a = [("%d" % i) * 40 for i in range(int(sys.argv[1]))]
pid = os.fork()
if pid == 0:
    b = a + [("%d" % i) * 41 for i in range(int(sys.argv[1]))]
    os._exit(len(b) == 2 * len(a) and b[-1].startswith("%d" % (len(a) - 1)))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), sum(map(len, a)))
'
found() { # FIELD
    json_get "$work/r.json" "cpu.memory_pages.auto_huge.$1"
}
export PYTHONMALLOC=malloc
large=400000
expected=$(python3 -c "$fill" $large)
for setting in auto off; do
    under bfc XSIGMA_STATS_FILE="$work/r.json" XSIGMA_CPU_HUGE_PAGES=$setting -- python3 -c "$fill" $large >"$work/out" ||
        fail "$setting: status $?"
    [ "$(cat "$work/out")" = "$expected" ] || fail "$setting: $(cat "$work/out"), not $expected"
    echo "$setting: $(found verdict), $(found got) got, small ones $(found small_ns) ns, touched $(found touched_permille)"
    case $setting in
    auto)
        [ "$(found small_ns)" -gt 0 ] || fail "auto did not look at a heap of 150 MiB"
        [ "$(found got)" -eq 0 ] || [ "$(json_get "$work/r.json" cpu.memory_pages.resident_bytes)" -gt 0 ] ||
            fail "the report does not tell how much lies in huge pages"
        "$build/xsigma" report "$work/r.json" >"$work/text" 2>&1
        grep -q 'huge pages, auto: [0-9]* got' "$work/text" || fail "the text does not tell what auto found: $(head -n 20 "$work/text")"
        ;;
    off) [ "$(found small_ns) $(found verdict)" = '0 untried' ] || fail "off looked: $(found small_ns) $(found verdict)" ;;
    esac
done
if "$run" kill mincore true; then
    out=$(under bfc XSIGMA_STATS_FILE="$work/r.json" -- "$run" kill mincore python3 -c "$fill" $large) || fail "under a filter: status $?"
    [ "$out" = "$expected" ] || fail "under a filter: $out, not $expected"
    [ "$(found small_ns)" -gt 0 ] || fail "auto did not look under a filter that was there before"
fi
under bfc XSIGMA_STATS_FILE="$work/r.json" -- python3 -c "$fill" 1000 >/dev/null || fail "a small one: status $?"
[ "$(found small_ns)" -eq 0 ] || fail "auto looked at a small heap"
# shellcheck disable=SC2016 # for the inner shell
out=$(under bfc XSIGMA_STATS=0 -- sh -c 'ulimit -v 2000000; exec python3 -c "$1" "$2"' sh "$fill" $large)
[ "$out" = "$expected" ] || fail "under a limit on address space: $out, not $expected"

# oneTBB asks for little more than 1 MiB at a time: that is to lie in huge pages too, and not each in two.
if have_backend tbb; then
    weigh() { # BACKEND SETTING - sets kib, huge
        read -r kib huge < <(under "$1" XSIGMA_STATS=0 XSIGMA_CPU_HUGE_PAGES="$2" -- python3 -c '
a = [bytes(65536) for i in range(1400)]
f = dict(l.split()[:2] for l in open("/proc/self/smaps_rollup") if l[0] in "RA")
print(f["Rss:"], f["AnonHugePages:"])')
    }
    weigh bfc always
    has=$huge
    weigh tbb off
    off=$kib
    for setting in thp always; do
        weigh tbb $setting
        echo "tbb, $setting: $kib KiB, $huge in huge pages; off $off"
        [ "$kib" -le $((off * 5 / 4)) ] || fail "tbb, $setting: $kib KiB instead of $off"
        [ "$has" -lt 50000 ] || [ "$huge" -ge 50000 ] || fail "tbb, $setting: $huge KiB in huge pages, bfc has $has"
    done
fi

# Explicit pages, of which there are none on most machines: a line says so, and the program runs.
pool=$(cat /sys/kernel/mm/hugepages/*/nr_hugepages 2>/dev/null | tr -d "0\n")
have_backend mimalloc && backends='bfc mimalloc'
for backend in ${backends-bfc}; do
    for setting in XSIGMA_RESERVE_HUGE_PAGES=2M XSIGMA_RESERVE_HUGE_PAGES=3G XSIGMA_CPU_MIMALLOC_RESERVE_HUGE_OS_PAGES=1 XSIGMA_CPU_HUGE_PAGES=explicit; do
        out=$(under "$backend" XSIGMA_STATS=0 "$setting" -- python3 -c "$fill" 20000 2>"$work/err")
        rc=$?
        [ "$rc $out" = "0 $(python3 -c "$fill" 20000)" ] || fail "$backend $setting: status $rc, $out"
        said=$(sed "s/\[[0-9]*\]//" "$work/err" | sort -u)
        [ "$(wc -l <<<"$said")" -le 1 ] || fail "$backend $setting: $said"
        case $setting in
            XSIGMA_RESERVE*) [ -n "$pool$said" ] || fail "$backend $setting: no word" ;;
        esac
    done
done
finish
