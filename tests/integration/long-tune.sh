#!/bin/bash
# timeout: 1800
# xsigma tune on real programs against an exhaustive measurement of the same candidates, made apart
# from it: what it recommends is within the spread that it printed of the best of them, by memory and by
# CPU time, whose spread is what else the machine does. As any answer may lie within that, time is also
# tuned from a slow beginning, where a wrong answer cannot. And a candidate that hangs.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3 sqlite3 perl
xsigma=$xs_build/xsigma
runs=9

cat >judge.py <<'END'
"""judge.py OBJECTIVE LIBRARY RUNS TABLE BASE TELLS COMMAND...: the table is what tune printed, BASE what
was set for all. TELLS: some candidate must be so much worse than the best that it could not be
recommended, and the baseline too if it is `slow`."""
import os, re, statistics, sys
objective, library, runs, table, base, tells, *command = sys.argv[1:]
runs = int(runs)
unit = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}
scale, shown = {"rss": (2**20, "MiB"), "time": (1e-3, "ms")}[objective]
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
    for word in base.split() + (label.split(" ") if label != "baseline" else []):
        env["XSIGMA_" + word.partition("=")[0]] = word.partition("=")[2]
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.execvpe(command[0], command, env)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, (label, status)
    return usage.ru_maxrss * 1024 if objective == "rss" else usage.ru_utime + usage.ru_stime

figures = {label: [] for label in found}
for _ in range(runs):
    for label in figures:
        figures[label].append(once(label))
median = {label: statistics.median(v) for label, v in figures.items()}
best = min(median, key=median.get)
chosen = next(label for label in found if found[label][0])
allowed = max(found[chosen][1], found[best][1])
print(f"{objective}, {command[0]}: tune says {chosen}, {median[chosen] / scale:.2f} {shown}; the best of {len(found)} is "
      f"{best}, {median[best] / scale:.2f} {shown}; printed spread {allowed / scale:.2f} {shown}")
wrong = [label for label in found if median[label] - median[best] > max(found[label][1], found[best][1])]
print("  answers that would be wrong:", ", ".join(wrong) or "none")
if tells and (not wrong or (tells == "slow" and "baseline" not in wrong)):
    sys.exit("nothing is told by this")
sys.exit(median[chosen] - median[best] > allowed)
END

judged() { # OBJECTIVE BASE TELLS [--candidate SET]... -- COMMAND...
    local objective=$1 base=$2 tells=$3 options=(-n "$runs" --objective "$1" --seed 1) word
    shift 3
    for word in $base; do options+=(--set "$word"); done
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    xs_runs=$((xs_runs + 1))
    "$xsigma" tune "${options[@]}" -- "$@" >table 2>err </dev/null || fail "$1: $(cat err)"
    cat table
    python3 judge.py "$objective" "$XS_LIB" $runs table "$base" "$tells" "$@" ||
        fail "$1, $objective: not within the spread of the best"
}

try() { # COMMAND...
    judged rss '' yes -- "$@"
    judged time '' '' -- "$@"
    judged time CPU_GUARD_SAMPLE=20 slow --candidate CPU_GUARD_SAMPLE=0 --candidate CPU_GUARD_SAMPLE=1000 \
        --candidate 'CPU_GUARD_SAMPLE=0 CPU_BACKEND=mimalloc' --candidate CPU_BACKEND=system -- "$@"
}
export PYTHONMALLOC=malloc

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

cat >load.pl <<'END'
my %words;
push @{$words{$_ * 7919 % 30011}}, "line $_" for 1 .. 150000;
print scalar(keys %words), " ", length(join ",", map { @$_ } @words{sort keys %words}), "\n";
END
try perl load.pl

# Without a limit given, by the time that the first run takes.
cat >hangs.sh <<'END'
[ "$XSIGMA_CPU_ALIGN" != 32 ] || sleep 2000
END
"$xsigma" tune -n 3 --objective rss --candidate CPU_ALIGN=32 -- sh hangs.sh >out 2>err || fail "hangs.sh: $(cat err)"
grep -q 'out: did not end within 1[0-9.]* s' out || fail "hangs.sh: $(cat out)"
finish
