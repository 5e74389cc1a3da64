#!/bin/bash
# The verbs report, diff and top: what they read, what they say of what they cannot.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
PATH=/usr/bin:/bin:$PATH
need python3

ends=$(program ends) || exit 1
tool=$build/xsigma
records=$work/records

says() { # STATUS TEXT ARGUMENT...
    local status=$1 text=$2 rc
    shift 2
    timeout 20 "$tool" "$@" >"$work/out" 2>&1 </dev/null
    rc=$?
    [ $rc -eq "$status" ] || fail "xsigma $*: status $rc instead of $status: $(head -n 3 "$work/out")"
    grep -qF -- "$text" "$work/out" || fail "xsigma $*: no '$text': $(head -n 5 "$work/out")"
}
says 1 'no record of yours' report
says 1 'no such process, and it has left no record' report 999999999
says 1 'does not run under libxsigma.so' report $$
says 1 'No such file' report /nonexistent/file
says 1 'no record and no JSON report in it' report "$records"
says 64 "is no option" report --nonsense
says 64 'two reports are needed' diff "$records"
says 64 'the number of a process is needed' top
says 64 'expected a number' top -n x 1
says 64 'expected a number' top -n 0 1
says 1 'does not run under libxsigma.so' top $$
says 64 "did you mean 'report'" repotr
says 64 "did you mean 'tune'" tun
says 64 "or 'xsigma run -- foo'" foo

# The same report from the process, from its JSON, and from the record that it keeps.
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/own.json XSIGMA_RECORD_KEEP=1 "$ends" exit 1000
python3 - "$work/own.json" <<'END' || fail "free_sizes are not what is free"
import json, sys
core = json.load(open(sys.argv[1]))["cpu"]["core"]
sizes, largest = core["free_sizes"], core["largest_free_bytes"]
print(core)
assert sum(s["free_bytes"] for s in sizes) == core["free_bytes"] > 0
assert sizes[-1]["below_bytes"] // 2 <= largest < sizes[-1]["below_bytes"]
END
"$tool" report --json "$work/own.json" | cmp - "$work/own.json" || fail "JSON read and written is not the same"
"$tool" report --json "$records"/ends.*.xsr | cmp - "$work/own.json" || fail "the kept record is not the same"
"$tool" report --json - <"$work/own.json" | cmp - "$work/own.json" || fail "standard input is not the same"
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/own.txt XSIGMA_STATS_FORMAT=json "$ends" exit 1000
says 0 'exit 3' report "$work/own.txt"
printf '{"schema": "other"}' >"$work/other.json"
says 1 'not a report of the schema' report "$work/other.json"
printf '{"schema": ' >"$work/broken.json"
says 1 'a value is expected, at byte 11' report "$work/broken.json"
rm -f "$records"/*

# diff: exactly what was more.
LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/more.json "$ends" exit 3000
"$tool" diff --json "$work/own.json" "$work/more.json" >"$work/diff.json" || fail "diff"
python3 - "$work/diff.json" <<'END' || fail "diff: wrong figures"
import json, sys
d = json.load(open(sys.argv[1]))
f = {x["name"]: (x["after"] - x["before"], x["unit"]) for x in d["figures"] if x["before"] is not None and x["after"] is not None}
want = {"CPU allocations": (2000, "calls"), "CPU frees": (500, "calls"), "CPU requested": (200000, "bytes"),
        "CPU live blocks": (1500, "calls"), "calls <= 256 B": (2000, "calls")}
wrong = [(k, f.get(k), v) for k, v in want.items() if f.get(k) != v]
print(wrong)
sys.exit(bool(wrong) or d["schema"] != "xsigma.diff/1")
END
says 0 '+2000' diff "$work/own.json" "$work/more.json"
says 0 '-500' diff "$work/more.json" "$work/own.json"


# Its sites: every block noted, so what differs is exact, and what does not is not told.
for n in 1000 3000; do
    LD_PRELOAD=$lib XSIGMA_SAMPLE=1 XSIGMA_STATS_FILE=$work/sites-$n.json "$ends" exit $n
done
"$tool" diff --json "$work/sites-1000.json" "$work/sites-3000.json" >"$work/diff.json" || fail "diff of sites"
python3 - "$work/diff.json" <<'END' || fail "diff of sites: wrong figures"
import json, sys
sites = json.load(open(sys.argv[1]))["sites"]
more = [s for s in sites if s["live_bytes"]["after"] != s["live_bytes"]["before"] or s["total_bytes"]["after"] != s["total_bytes"]["before"]]
print(more)
assert len(more) == 1 and more[0]["kind"] == "cpu" and len(more[0]["frames"]) > 1, "one site"
live, total = more[0]["live_bytes"], more[0]["total_bytes"]
assert total["after"] - total["before"] == 200000 and live["after"] - live["before"] == 150000
assert live["before_error"] == live["after_error"] == 0
END
says 0 'SITES live at the end' diff "$work/sites-1000.json" "$work/sites-3000.json"
says 0 '+146 KiB' diff "$work/sites-1000.json" "$work/sites-3000.json"
says 0 'only the second report has call sites' diff "$work/own.json" "$work/sites-3000.json"
"$tool" diff "$work/sites-1000.json" "$work/sites-1000.json" | grep SITES && fail "a report against itself: sites"

# A process that runs: a snapshot on request, top once, the timeline; then it is killed.
LD_PRELOAD=$lib python3 -S -c '
import time
kept = []
for i in range(100000):
    kept.append(bytearray(50000))
    if len(kept) > 100:
        kept.clear()
    time.sleep(0.002)' &
pid=$!
for _ in $(seq 100); do
    sleep 0.1
    "$tool" report --json $pid >"$work/live.json" 2>/dev/null && grep -q '"interval_ns"' "$work/live.json" && break
done
says 0 "$pid  python3" report
says 0 'running' report $pid
says 0 'RSS' top $pid
[ "$(grep -c 'xsigma top' "$work/out")" -eq 1 ] || fail "top without a terminal: more than once"
says 0 'allocations' top -n 3 -d 50ms $pid
[ "$(grep -c 'xsigma top' "$work/out")" -eq 3 ] || fail "top -n 3: $(grep -c 'xsigma top' "$work/out") times"
grep -q '/s' "$work/out" || fail "top: no rate"
grep -q $'\033' "$work/out" && fail "top: terminal codes in a file"
python3 - "$work/live.json" <<'END' || fail "the timeline is wrong"
import json, sys
r = json.load(open(sys.argv[1]))
t = r["timeline"]
n = len(t["t_ns"])
wrong = [k for k, v in t.items() if isinstance(v, list) and k != "gpu" and len(v) != n]
if n == 0 or t["t_ns"] != sorted(set(t["t_ns"])) or t["requested_bytes"] != sorted(t["requested_bytes"]):
    wrong.append("order")
if any(b - a < t["interval_ns"] * 0.9 for a, b in zip(t["t_ns"][:-1], t["t_ns"][1:-1])):
    wrong.append("interval")
if r["process"]["how"] != "running" or r["process"]["rss_bytes"] is None:
    wrong.append("process")
print(n, "points", wrong)
sys.exit(bool(wrong))
END
# Killed, but its parent has not heard of it yet, nor is this shell asked to.
python3 - "$lib" "$tool" <<'END' || fail "a process that was killed and not waited for runs"
import os, signal, subprocess, sys, time
p = subprocess.Popen(["sleep", "100"], env=dict(os.environ, LD_PRELOAD=sys.argv[1]))
tell = lambda: subprocess.run([sys.argv[2], "report"], capture_output=True, text=True).stdout
while f"{p.pid}  sleep  running" not in tell():
    time.sleep(0.01)
p.send_signal(signal.SIGKILL)
os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)
assert f"{p.pid}  sleep  ended without a report" in tell(), tell()
p.wait()
os.remove(f"{os.environ['XSIGMA_RECORD']}/xsigma-{os.getuid()}-{p.pid}")
END
kill -9 $pid
wait $pid 2>/dev/null
says 0 'ended without a report' report $pid
says 0 'ended without a report' top $pid
says 0 'ended without a report' report
# It was shown, so it goes, but not at once.
touch -d '1 hour ago' "$records/xsigma-$(id -u)-$pid"
# One start in sixteen looks, by its number, and other programs' starts come between ours.
for ((i = 0; i < 1000; i++)); do
    compgen -G "$records/*" >/dev/null || break
    LD_PRELOAD=$lib XSIGMA_STATS_FILE=/dev/null /bin/true
done
[ -z "$(ls "$records")" ] || fail "a record that was shown an hour ago stays: $(ls "$records")"

# In another namespace its number is that of some other process here, of which nothing may be told.
# shellcheck disable=SC2016 # perl's variable
if unshare -pf true 2>/dev/null; then
    unshare -pf sh -c 'env LD_PRELOAD="$1" perl -e "kill 9, \$\$"; true' sh "$lib" 2>/dev/null
    path=$(echo "$records"/xsigma-*)
    says 0 'in another pid namespace' report
    says 0 'in another pid namespace' report "$path"
    says 0 'in another pid namespace' report "${path##*-}"
    "$tool" report --json "${path##*-}" | grep -q '"rss_bytes": null' || fail "resident memory of a process elsewhere"
    rm -f "$path"
fi

# A report every so often, while it runs.
LD_PRELOAD=$lib XSIGMA_STATS_INTERVAL=50ms XSIGMA_STATS=1 python3 -S -c '
import time
for i in range(200):
    x = bytearray(2000000)
    time.sleep(0.005)' 2>"$work/err"
n=$(grep -c '^xsigma .* snapshot ' "$work/err")
{ [ "$n" -ge 3 ] && [ "$n" -le 40 ]; } || fail "XSIGMA_STATS_INTERVAL: $n reports on the way"
[ "$(grep -c '^xsigma .* exit 0 ' "$work/err")" -eq 1 ] || fail "XSIGMA_STATS_INTERVAL: no last report"
finish
