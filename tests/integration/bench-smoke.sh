#!/bin/bash
# The benchmark runner: every load of ours runs with little work and says that its answers are right; two
# allocators are measured on rows of every kind; every file is written and holds what it should.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"
need python3
[ "$xs_stand_in" = 0 ] || skip "$XS_LIB has no back ends to compare"
bin=$xs_build/tests/bench
for p in micro threads aging latency growth lines line_model montecarlo multigrid risk spawn; do
    [ -x "$bin/$p" ] || skip "no build/tests/bench/$p: run make tests"
done

# Every load, under the library; a wrong answer or a damaged block ends it with status 1.
export LD_PRELOAD=$XS_LIB XSIGMA_STATS=0
for load in $("$bin/micro" --list); do
    "$bin/micro" "$load" 0.002 >"$xs_tmp/printed" || fail "micro $load"
done
for load in $("$bin/threads" --list); do
    "$bin/threads" "$load" 0.002 3 >"$xs_tmp/printed" || fail "threads $load"
done
for load in $("$bin/latency" --list); do
    "$bin/latency" "$load" 0.01 2 >"$xs_tmp/printed" || fail "latency $load"
    grep -q '^malloc_p999_ns [1-9]' "$xs_tmp/printed" || fail "latency $load has no p99.9"
done
for load in "own 3 3000" "handed 3 3000" "heap 300000" "heap 300000 floor" "objects 2000" "objects 2000 floor"; do
    # shellcheck disable=SC2086 # words
    "$bin/growth" $load >"$xs_tmp/printed" || fail "growth $load"
    grep -qE '^(ns_per_op|replace_ns) [0-9]*[1-9]' "$xs_tmp/printed" || fail "growth $load: $(cat "$xs_tmp/printed")"
done
"$bin/aging" 0.02 2 >"$xs_tmp/printed" || fail aging
[ "$(grep -c '^resident_by_live_' "$xs_tmp/printed")" = 40 ] || fail "aging says nothing of its epochs"
for load in "own 4 30" "large 4 30" "ring 4 30" "pipe 4 30"; do
    # shellcheck disable=SC2086 # words
    "$bin/lines" $load || fail "lines $load"
done
for load in montecarlo risk multigrid; do
    one=$("$bin/$load" 0.02) || fail "$load"
    two=$(LD_PRELOAD='' "$bin/$load" 0.02 3) || fail "$load without the library"
    [ -n "$one" ] && [ "$one" = "$two" ] || fail "$load: another answer with other threads and another malloc"
done
unset LD_PRELOAD XSIGMA_STATS

# The model: core 1 loads what core 0 has stored to (1), stores to it (1), and core 0 loads it (1); a line that only
# core 0 has is never counted, and nothing is outside of malloc and free.
sign() { # what who
    printf ' S %x,1\n' $((0x66600000 + ($1 * 64 + $2) * 64))
}
{
    sign 2 0; echo ' S 1000,8'; echo ' L 1004,4'; echo ' S 2000,8'; sign 0 0; echo ' L 1000,8'
    sign 3 1; echo ' L 1038,8'; echo ' S 1030,8'; sign 0 0
    sign 2 0; echo ' L 1000,8'; echo ' M 2000,4'; sign 0 0
} | "$bin/line_model" >"$xs_tmp/printed" || fail "line_model"
grep -qx 'malloc_transfers 0.5000' "$xs_tmp/printed" && grep -qx 'free_transfers 2.0000' "$xs_tmp/printed" ||
    fail "line_model counts $(tr '\n' ' ' <"$xs_tmp/printed")"
{ sign 2 0; echo ' S 1000,8'; } | "$bin/line_model" >/dev/null 2>&1 && fail "a trace without a free is no error"

bench=$xs_root/tests/bench/run
rows=(pair1/64 storm aging multigrid latency/small growth/own/1 growth/own/2 growth/objects/1000 growth/objects/10000)
counted=()
if command -v valgrind >/dev/null; then
    counted=(cores/own/2 cores/ring/2)
fi
patterns=()
for row in "${rows[@]}" "${counted[@]}"; do
    patterns+=(--rows "$row")
done
ours=xsigma-system,xsigma-system+stats,xsigma-bfc+stats,xsigma-bfc+sample
"$bench" --quick --reps 2 "${patterns[@]}" --only glibc,$ours \
    --out "$xs_tmp/out" >"$xs_tmp/printed" 2>"$xs_tmp/progress" ||
    fail "status $?: $(cat "$xs_tmp/progress")"
xs_runs=1
/usr/bin/python3 - "$xs_tmp/out" "${#counted[@]}" <<'PYTHON' || fail 'the results are not as expected'
import json
import os
import sys
import xml.dom.minidom

out, counting = sys.argv[1], int(sys.argv[2]) > 0
with open(os.path.join(out, "benchmarks.json"), encoding="utf-8") as f:
    found = json.load(f)
assert found["schema"] == "xsigma.bench/2", found["schema"]
assert "--rows pair1/64" in found["command"], found["command"]
assert found["failures"] == [], found["failures"]
names = [a["name"] for a in found["allocators"]]
assert sorted(names) == ["glibc", "xsigma-bfc+sample", "xsigma-bfc+stats", "xsigma-system", "xsigma-system+stats"], names
rows = {r["name"]: r for r in found["rows"]}
assert {"pair1/64", "storm", "aging", "multigrid", "latency/small", "growth/objects/1000/floor"} <= set(rows), rows.keys()
assert rows["storm"]["weight"] == 1 and rows["pair1/64"]["weight"] == 0, rows
for name in ("pair1/64", "storm", "aging", "multigrid"):
    assert sorted(rows[name]["results"]) == sorted(names), name
    for result in rows[name]["results"].values():
        cpu = result["cpu"]
        assert len(cpu["samples"]) == 2 and cpu["min"] <= cpu["median"] <= cpu["max"], cpu
        assert 0.5 < cpu["median"] < 100000, cpu
        assert 500 < result["peak_rss_kib"]["median"] < 1000000, result
means = found["weighted_mean_against_reference"]
assert found["reference"] == "glibc" and means["cpu"]["glibc"] == [1.0, 1.0, 1.0], means
svg = ["cpu.svg", "rss.svg", "cpu-rss.svg", "aging.svg", "growth-own-ns.svg", "growth-objects-replace.svg",
       "latency-small-malloc.svg", "latency-small-free.svg"]
if counting:
    svg += ["cores-own.svg", "cores-ring.svg"]
    for row in ("cores/own/2", "cores/ring/2"):
        for figures in found["counted"][row].values():
            assert figures["mallocs"] > 100 and figures["transfers_per_pair"] >= 0, figures
    ring, own = (found["counted"][f"cores/{k}/2"]["glibc"]["transfers_per_pair"] for k in ("ring", "own"))
    assert ring > own, (ring, own)
with open(os.path.join(out, "benchmarks.md"), encoding="utf-8") as f:
    text = f.read()
for name in svg:
    xml.dom.minidom.parse(os.path.join(out, "benchmarks", name))
    assert f"(benchmarks/{name})" in text, name
for part in ("tests/bench/run --quick", "| pair1/64", "## Together", "## What was to be shown", "## What a back end costs",
             "## Latency", "## How cost grows"):
    assert part in text, part
PYTHON
cmp "$xs_tmp/printed" "$xs_tmp/out/benchmarks.md" || fail 'a partial run prints what it writes'

# --steady repeats the rows whose repetitions differ, and those only.
/usr/bin/python3 -B - "$bench" <<'PYTHON' || fail '--steady'
import importlib.machinery
import importlib.util
import os
import sys
import types

sys.path.insert(0, os.path.dirname(sys.argv[1]))
loader = importlib.machinery.SourceFileLoader("run", sys.argv[1])
run = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
loader.exec_module(run)
rows = [types.SimpleNamespace(name=n, seconds=1, most=9, takes=lambda a: True) for n in ("even", "uneven")]
times = {"even": iter([100, 104] * 9), "uneven": iter([100, 106] * 9)}
run.loads.run_once = lambda row, *_: {"cpu": next(times[row.name])}
one = [types.SimpleNamespace(name="one")]
samples, _, done, _ = run.measure(rows, one, 2, 5, None, False, "", "")
assert (len(samples["even", "one"]), len(samples["uneven", "one"]), done) == (2, 5, 5), samples
samples, _, done, _ = run.measure(rows, one, 2, 0, None, False, "", "")
assert (len(samples["uneven", "one"]), done) == (2, 2), samples
PYTHON

# The list of loads is what runs.
"$bench" --list >"$xs_tmp/listed" || fail '--list'
while read -r section load _; do
    case $section in
        threads | memory | domain) grep -q "^  $load  *[01]\$" "$xs_tmp/listed" || fail "$load is not run" ;;
    esac
done < <(grep -v '^#' "$xs_root/tests/bench/weights")
"$bench" --rows no-such-row --list >/dev/null 2>&1 && fail 'an unknown row is no error'
"$bench" --only no-such --list >/dev/null 2>&1 && fail 'an unknown allocator is no error'
"$bench" --peer broken=/nowhere.so --list >/dev/null 2>&1 && fail 'a missing peer is no error'
finish
