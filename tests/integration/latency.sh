#!/bin/bash
# Timed calls in every form of the report: of a run that ends, one that is killed, several together;
# nothing where it is off. What the figures are is a matter of the unit tests, which have a clock.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
PATH=/usr/bin:/bin:$PATH
need python3

tool=$build/xsigma

# ask FILE EXPRESSION: python, of the report r and its latency l.
ask() {
    python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
l = r["latency"]
print(eval("(" + sys.argv[2] + ")"))' "$@"
}
# The sampled calls stand for nearly all that there were, and never for more.
stand_for() { # FILE WHAT
    ask "$1" '0.8 * r["cpu"]["totals"]["allocations"] < l["malloc"]["calls"] <= r["cpu"]["totals"]["allocations"]
        and 0.8 * r["cpu"]["totals"]["frees"] < l["free"]["calls"] <= r["cpu"]["totals"]["frees"]
        and sum(l["malloc"]["bins"]) == l["malloc"]["calls"]
        and l["malloc"]["samples"] > 100 and l["free"]["samples"] > 100
        and l["malloc"]["p50_ns"] <= l["malloc"]["p99_ns"] <= l["malloc"]["p999_ns"] <= l["malloc"]["max_ns"]' |
        grep -qx True || fail "$2: $(ask "$1" 'l, r["cpu"]["totals"]["allocations"]')"
}
pairs=$(program advise) || exit 1
run() { # FILE SETTING... : 1.1 million pairs of malloc and free
    local file=$1
    shift
    env LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$file" "$@" "$pairs" pairs >"$work/out" 2>"$work/err" ||
        fail "$*: $(cat "$work/err")"
}

run "$work/one.json"
stand_for "$work/one.json" "the own core"
run "$work/report.txt"
grep -q '^LATENCY .*p99.9' "$work/report.txt" && grep -q '^  free ' "$work/report.txt" || fail "the text has none"
"$tool" report "$work/one.json" >"$work/report.txt"
grep -q '^  malloc ' "$work/report.txt" || fail "the text of a JSON report has none"

# Others are timed where their blocks are sampled, and by that weigh right.
run "$work/other.json" XSIGMA_CPU_BACKEND=system XSIGMA_SAMPLE=16K XSIGMA_UNWIND=off
ask "$work/other.json" '0.8 < l["malloc"]["calls"] / r["cpu"]["totals"]["allocations"] < 1.2 and
    0.8 < l["free"]["calls"] / r["cpu"]["totals"]["frees"] < 1.2' |
    grep -qx True || fail "system: $(ask "$work/other.json" l)"
run "$work/other.json" XSIGMA_CPU_BACKEND=system
[ "$(ask "$work/other.json" l)" = None ] || fail "system, not sampled: $(ask "$work/other.json" l)"

# Off, by its own switch and with the statistics.
run "$work/off.json" XSIGMA_STATS_LATENCY=0
[ "$(ask "$work/off.json" l)" = None ] || fail "switched off: $(ask "$work/off.json" l)"
"$tool" report "$work/off.json" | grep -q '^LATENCY' && fail "switched off, but the text has it"

# Two together are their sum.
run "$work/two.json"
mkdir "$work/both"
cp "$work/one.json" "$work/two.json" "$work/both"
"$tool" report --json "$work/both" >"$work/sum.json" || fail "the sum"
for key in samples calls; do
    [ "$(ask "$work/sum.json" "l['malloc']['$key']")" -eq \
        $(($(ask "$work/one.json" "l['malloc']['$key']") + $(ask "$work/two.json" "l['malloc']['$key']"))) ] ||
        fail "the sum of $key"
done
"$tool" diff --json "$work/one.json" "$work/off.json" >"$work/diff.json"
python3 - "$work/diff.json" <<'PY' || fail "diff: a figure that one of them does not know"
import json, sys
figures = {f["name"]: f for f in json.load(open(sys.argv[1]))["figures"]}
sys.exit(figures["malloc p99"]["before"] is None or figures["malloc p99"]["after"] is not None)
PY

# Killed: what was counted is in the record.
PYTHONMALLOC=malloc XSIGMA_STATS_FILE=$work/own.json LD_PRELOAD=$lib python3 -c '
import os, signal
kept = [dict(a=i) for i in range(200000)]
print("there", flush=True)
os.kill(os.getpid(), signal.SIGKILL)' >"$work/out" 2>"$work/err" &
killed=$!
wait $killed 2>/dev/null
"$tool" report --json $killed >"$work/killed.json" 2>"$work/err" || fail "killed: $(cat "$work/err")"
[ "$(ask "$work/killed.json" 'r["process"]["how"]')" = "ended without a report" ] || fail "it was not killed"
[ "$(ask "$work/killed.json" 'l["malloc"]["samples"]')" -gt 20 ] || fail "killed: $(ask "$work/killed.json" l)"

# And of one that runs, until its standard input ends.
mkfifo "$work/pipe"
sleep 60 >"$work/pipe" &
sleeper=$!
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/own.json python3 -c '
kept = [dict(a=i) for i in range(200000)]
print("there", flush=True)
input()' <"$work/pipe" >"$work/there" 2>"$work/err" &
running=$!
for _ in {1..500}; do
    [ -s "$work/there" ] && break
    sleep 0.02
done
"$tool" top -n 1 $running >"$work/top" 2>"$work/err"
kill $sleeper
wait $running 2>/dev/null
grep -q '^LATENCY' "$work/top" || fail "top: $(cat "$work/top" "$work/err")"
finish
