#!/bin/bash
# scripts/gpu-check on the fake driver: it runs to its end, fails in nothing, and writes what it says.
# timeout: 1500
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need python3 make
"$xs_root/scripts/gpu-check" --fake --quick --out "$xs_tmp/out" >said 2>&1 || {
    fail "status $?"
    grep '^fail' said
}
grep -q '^| ' out/result.md || fail "no result.md"
python3 -c '
import json
r = json.load(open("out/result.json"))
steps = {x["step"] for x in r["results"]}
assert {"build", "linking", "reuse", "measure", "clients", "pair", "traces"} <= steps, steps
assert all(x["status"] in ("pass", "fail", "not done", "info") for x in r["results"])' ||
    fail "result.json is not as it should be"
xs_runs=1
finish
