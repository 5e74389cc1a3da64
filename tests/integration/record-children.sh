#!/bin/bash
# A tree of forked children that end in all ways, and what becomes of records at vfork, exec and spawn.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
PATH=/usr/bin:/bin:$PATH
need python3

ends=$(program ends) || exit 1
tool=$build/xsigma
records=$work/records

# 500 children with 40 to 539 blocks each; all leave their records, those that report too.
children=500 blocks=40
LD_PRELOAD=$lib XSIGMA_STATS_CHILDREN=1 XSIGMA_RECORD_KEEP=1 XSIGMA_STATS_FILE=$work/%p.txt \
    "$ends" return $blocks $children >/dev/null 2>"$work/err"
[ $? -eq 3 ] || fail "the tree: $(cat "$work/err")"
n=$(find "$records" -type f | wc -l)
[ "$n" -eq $((children + 1)) ] || fail "$n records instead of $((children + 1))"
"$tool" report --json "$records" >"$work/all.json" || fail "the directory could not be read"
python3 - "$work/all.json" $children $blocks <<'END' || fail "wrong sums"
import json, sys
r = json.load(open(sys.argv[1]))
n, blocks = int(sys.argv[2]), int(sys.argv[3])
processes = r["processes"]
totals = r["cpu"]["totals"]
wanted = blocks + sum(blocks + i for i in range(n))
freed = (blocks + 3) // 4 + sum((blocks + i + 3) // 4 for i in range(n))
ways = {}
for p in processes:
    ways[p["how"]] = ways.get(p["how"], 0) + 1
print(len(processes), "processes,", totals["allocations"], "allocations,", totals["frees"], "frees;", ways)
wrong = []
if len(processes) != n + 1:
    wrong.append("%d processes" % len(processes))
# The root's own start allocates too, before main; its children have nothing but their blocks.
extra = totals["allocations"] - wanted
if not 0 <= extra <= 10 or totals["requested_bytes"] < 100 * wanted:
    wrong.append("%d allocations instead of %d" % (totals["allocations"], wanted))
if not 0 <= totals["frees"] - freed <= 10:
    wrong.append("%d frees instead of %d" % (totals["frees"], freed))
own = [p["allocations"] for p in processes]
for i in range(n):
    if blocks + i in own:
        own.remove(blocks + i)
    else:
        wrong.append("no child with %d" % (blocks + i))
silent = sum(1 for i in range(n) if i % 6 >= 3)
if ways.get("ended without a report") != silent:
    wrong.append("%s without a report instead of %d" % (ways.get("ended without a report"), silent))
print("\n".join(wrong))
sys.exit(bool(wrong))
END
"$tool" report "$records" >"$work/text" || fail "text of the directory"
grep -q "$((children + 1)) processes" "$work/text" || fail "no number of processes: $(head -n 1 "$work/text")"
rm -f "$records"/*

# Children that are not to report have no record, and do not count in their parent's.
run() {
    LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/root.json "$@" >"$work/out" 2>"$work/err"
}
allocations() {
    sed -n '/"totals"/,/allocations/ s/.*"allocations": \([0-9]*\).*/\1/p' "$work/root.json"
}
run "$ends" return 500
alone=$(allocations)
run "$ends" return 500 20
[ "$(allocations)" -eq "$alone" ] || fail "with children that end: $(allocations) allocations instead of $alone"
[ -z "$(ls "$records")" ] || fail "left over: $(ls "$records")"

# exec: the record is the new program's. A child by vfork and exec has none, and harms nothing.
run sh -c "exec '$ends' return 500"
[ "$(allocations)" -eq "$alone" ] || fail "after exec: $(allocations) allocations instead of $alone"
run python3 -S -c "
import os, subprocess, sys
for i in range(20):
    os.posix_spawn('/bin/true', ['true'], os.environ)
    subprocess.run(['/bin/true'], close_fds=False)
for i in range(21):
    try:
        os.wait()
    except ChildProcessError:
        pass
print('done')"
[ "$(cat "$work/out")" = "done" ] || fail "spawned children: $(cat "$work/err")"
[ -s "$work/root.json" ] || fail "no report after spawned children"
[ -z "$(ls "$records")" ] || fail "left over after spawn: $(ls "$records")"

# Killed while it waits for a child: what is in the record is the parent's own.
: >"$work/out" # what it has from before must not be taken for the child's
LD_PRELOAD=$lib python3 -S -c "
import os, time
x = [str(i) for i in range(3000)]
if os.fork() == 0:
    y = [str(i) for i in range(200000)]
    os._exit(0)
os.wait()
print(flush=True)
time.sleep(60)" >"$work/out" 2>&1 &
pid=$!
for _ in $(seq 200); do [ -s "$work/out" ] && break; sleep 0.05; done
"$tool" report --json $pid >"$work/root.json" || fail "no report of a running process"
grep -q '"how": "running"' "$work/root.json" || fail "it is running"
kill -9 $pid
wait $pid 2>/dev/null
before=$(allocations)
"$tool" report --json $pid >"$work/root.json" || fail "no report of a killed process"
grep -q '"how": "ended without a report"' "$work/root.json" || fail "it was killed: $(grep how "$work/root.json")"
[ "$(allocations)" -eq "$before" ] || fail "killed: $(allocations) allocations instead of $before"
[ "$before" -lt 100000 ] || fail "the child's allocations are the parent's: $before"
finish
