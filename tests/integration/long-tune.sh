#!/bin/bash
# timeout: 1800
# xsigma tune on three real programs against an exhaustive measurement of the same candidates, made
# apart from it: what it recommends is within the spread that it printed of the best of them. The
# objective is memory, which does not depend on what else the machine does.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3 sqlite3 sort
xsigma=$xs_build/xsigma
runs=9

cat >judge.py <<'END'
"""judge.py LIBRARY RUNS TABLE COMMAND...: the table is what tune printed."""
import os, re, statistics, sys
library, runs, table, command = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
unit = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
row = re.compile(r"^([* ]) (.+?) +([\d.]+) (\w+)  ([\d.]+) (\w+) \.\. ([\d.]+) (\w+) +(\d+)")
found = {}
for line in open(table):
    m = row.match(line)
    if m:
        spread = float(m[7]) * unit[m[8]] - float(m[5]) * unit[m[6]]
        # Of figures of three digits the last one is worth so much.
        spread += 10 ** -len(m[5].partition(".")[2]) * unit[m[6]]
        found[m[2]] = (m[1] == "*", spread)
assert len(found) >= 4, found
assert sum(chosen for chosen, _ in found.values()) == 1, found

def once(label):
    env = dict(os.environ, LD_PRELOAD=library, XSIGMA_STATS_FILE="/dev/null")
    if label != "baseline":
        env.update(("XSIGMA_" + word.partition("=")[0], word.partition("=")[2]) for word in label.split(" "))
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execvpe(command[0], command, env)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, (label, status)
    return usage.ru_maxrss * 1024

figures = {label: [] for label in found}
for _ in range(runs):
    for label in figures:
        figures[label].append(once(label))
median = {label: statistics.median(v) for label, v in figures.items()}
best = min(median, key=median.get)
chosen = next(label for label in found if found[label][0])
allowed = max(found[chosen][1], found[best][1])
print(f"{command[0]}: tune says {chosen}, {median[chosen] / 2**20:.2f} MiB; the best of {len(found)} is {best}, "
      f"{median[best] / 2**20:.2f} MiB; printed spread {allowed / 2**20:.2f} MiB")
sys.exit(median[chosen] - median[best] > allowed)
END

try() { # COMMAND...
    xs_runs=$((xs_runs + 1))
    "$xsigma" tune -n $runs --objective rss --seed 1 -- "$@" >table 2>err </dev/null || fail "$1: $(cat err)"
    cat table
    python3 judge.py "$XS_LIB" $runs table "$@" || fail "$1: not within the spread of the best"
}

cat >load.py <<'END'
import random
random.seed(1)
words = {}
for i in range(200000):
    words.setdefault(str(random.randrange(30000)), []).append(i)
print(sum(len(v) for v in words.values()), len(sorted(words)))
END
try /usr/bin/python3 load.py

cat >load.sql <<'END'
create table t(a integer, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
  insert into t select i * 7919 % 60013, printf('%030d', i) from n;
create index t_b on t(b, a);
select count(*), sum(x.a) from t x join t y on x.b = y.b where y.a % 3 = 0;
END
try sqlite3 :memory: '.read load.sql'

seq 1 200000 | awk '{ print ($1 * 7919) % 200003, "line of text", $1 }' >lines
try sort --parallel=1 -S 200M lines
finish
