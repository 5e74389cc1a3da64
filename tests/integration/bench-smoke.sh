#!/bin/bash
# The benchmark runner measures two allocators on two rows and writes plausible results.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"
need python3
[ "$xs_stand_in" = 0 ] || skip "$XS_LIB has no back ends to compare"
for p in micro threads spawn; do
    [ -x "$xs_build/tests/bench/$p" ] || skip "no build/tests/bench/$p: run make tests"
done

bench=$xs_root/tests/bench/run
"$bench" --quick --reps 2 --rows pair1/64 --rows storm --only glibc,xsigma-system,xsigma-system+stats \
    --out "$xs_tmp/out" >"$xs_tmp/printed" 2>"$xs_tmp/progress" ||
    fail "status $?: $(cat "$xs_tmp/progress")"
xs_runs=1
/usr/bin/python3 - "$xs_tmp/out/benchmarks.json" <<'PYTHON' || fail 'the JSON is not as expected'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as f:
    found = json.load(f)
assert found["schema"] == "xsigma.bench/1", found["schema"]
assert "--rows pair1/64" in found["command"], found["command"]
assert found["failures"] == [], found["failures"]
names = [a["name"] for a in found["allocators"]]
assert names == ["glibc", "xsigma-system", "xsigma-system+stats"], names
assert [r["name"] for r in found["rows"]] == ["pair1/64", "storm"], found["rows"]
for row in found["rows"]:
    assert sorted(row["results"]) == sorted(names), row
    for result in row["results"].values():
        cpu = result["cpu"]
        assert len(cpu["samples"]) == 2 and cpu["min"] <= cpu["median"] <= cpu["max"], cpu
        assert 0.5 < cpu["median"] < 100000, cpu
        assert 500 < result["peak_rss_kib"]["median"] < 1000000, result
PYTHON
for text in 'tests/bench/run --quick' '| pair1/64' '## What routing costs'; do
    grep -qF -- "$text" "$xs_tmp/out/benchmarks.md" || fail "benchmarks.md lacks '$text'"
done
cmp "$xs_tmp/printed" "$xs_tmp/out/benchmarks.md" || fail 'a partial run prints what it writes'

"$bench" --rows no-such-row --list >/dev/null 2>&1 && fail 'an unknown row is no error'
"$bench" --only no-such --list >/dev/null 2>&1 && fail 'an unknown allocator is no error'
"$bench" --peer broken=/nowhere.so --list >/dev/null 2>&1 && fail 'a missing peer is no error'
finish
