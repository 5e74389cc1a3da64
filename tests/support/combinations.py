"""Runs programs under random combinations of variables: each must do what it does without the library.

usage: combinations.py LIBRARY PROGRAMS ROUNDS SEED    PROGRAMS: the folder of the built tests/programs
"""
import glob
import json
import os
import random
import shutil
import subprocess
import sys

LIBRARY, PROGRAMS, ROUNDS, SEED = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
LIMIT_S = 120 # a program that hangs

# Values that are right and ask for nothing that the programs cannot do with, wrong ones, and what is not there.
VALUES = {
    "CPU_BACKEND": ["bfc", "system", "mimalloc", "tbb"],
    "CPU_ROUTE": ["<=64K:mimalloc,*:bfc", "<=1K:bfc,<=64K:mimalloc,*:system", "<=16:tbb,*:bfc", "<1M:system,*:bfc", "nonsense"],
    "PRESET": ["monte-carlo", "pde", "risk"],
    "CPU_ALIGN": ["32", "64", "512", "4K", "3"],
    "CPU_CACHE": ["0", "1", "64K", "1G"],
    "CPU_DECAY": ["0", "1ms", "3600s"],
    "CPU_HARDENED": ["check", "full"],
    "CPU_QUARANTINE": ["0", "64K", "64G"],
    "CPU_GUARD_SAMPLE": ["1", "17", "5000"],
    "CPU_IDLE_THREAD": ["0"],
    "BFC_INITIAL": ["64K", "65K", "64M", "1G"],
    "BFC_GROWTH=0 XSIGMA_BFC_INITIAL": ["1G", "2G"],
    "BFC_LIMIT": ["700M", "1T"],
    "BFC_GC": ["0"],
    "BFC_COALESCE": ["0"],
    "BFC_FRAGMENTATION": ["1", "1000"],
    "BFC_ARENAS": ["1", "7", "64"],
    "BFC_RETRY": ["1ms"],
    "CPU_HUGE_PAGES": ["off", "thp", "always", "explicit"],
    "RESERVE_HUGE_PAGES": ["2M", "2G"],
    "CPU_MIMALLOC_RESERVE_HUGE_OS_PAGES": ["1"],
    "CPU_MIMALLOC_LARGE_OS_PAGES": ["1"],
    "CPU_MIMALLOC_EAGER_COMMIT": ["0"],
    "CPU_TBB_HUGE_PAGES": ["1"],
    "CPU_TBB_LIBRARY": ["libnone.so"],
    "CPU_NUMA": ["local", "interleave", "bind:0", "bind:7"],
    "CPU_NUMA_RUN": ["0", "9"],
    "MEMORY_LIMIT": ["900M", "16T"],
    "PRESSURE_WARN": ["0", "1%", "100%"],
    "PREFAULT": ["1", "64K", "100M"],
    "PREFAULT_LOCK": ["1"],
    "RESERVE": ["off", "1G", "16T"],
    "SAMPLE": ["1", "4K", "512K", "1T"],
    "UNWIND": ["fp", "off"],
    "STATS": ["0", "1"],
    "STATS_CHILDREN": ["1"],
    "STATS_INTERVAL": ["1ms"],
    "STATS_LATENCY": ["0"],
    "STATS_FORMAT": ["text", "json"],
    "STATS_FILE": ["report-%p.json", "report.txt", "/dev/full", "/nowhere/x"],
    "RECORD": ["off", "/nowhere", "/proc"],
    "RECORD_KEEP": ["1"],
    "RECORD_RSS": ["1"],
    "VERBOSE": ["1"],
    "GPU": ["0"],
}

THREADS = """
import hashlib, json, os, subprocess, threading, zlib
sums = [None] * 6
def work(n):
    text = json.dumps({i * n % 5003: 'v' * (i % 97) for i in range(15000)}, sort_keys=True).encode()
    sums[n] = hashlib.md5(zlib.decompress(zlib.compress(text * 5))).hexdigest()
for again in range(2):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    [t.start() for t in threads]
    pid = os.fork()
    if pid == 0:
        kept = [bytearray(i) for i in range(3000)]
        os._exit(7)
    print(os.waitpid(pid, 0)[1])
    [t.join() for t in threads]
    print(sums)
print(subprocess.run(['sh', '-c', 'echo a; exit 3'], stdout=subprocess.PIPE))
large = [bytearray(10_000_000) + b'x' * 5_000_000 for i in range(5)]
print(sum(map(len, large)))
"""

COMMANDS = {
    "python3": ["python3", "-c", THREADS],
    "sort": ["sort", "--parallel=4", "-S", "8M", "lines"],
    "sqlite3": ["sqlite3", ":memory:", "create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c where x < 20000) "
                "insert into t select x, hex(x * x) || 'abc' from c; create index i on t(b); select count(*), sum(a) from t where b like '3%'"],
    "perl": ["perl", "-e", "my %h; for (1 .. 60000) { $h{$_ % 977} .= \"x$_\"; } print map { \"$_ $h{$_}\\n\" } sort keys %h"],
    "bash": ["bash", "-c", "for i in {1..200}; do a[$i]=$(echo $i); done; echo ${a[@]}"],
    "xz": ["sh", "-c", "xz -T2 --block-size=400KiB -c lines | xz -dc | cksum"],
    "make": ["sh", "-c", "printf 'all: a b c\\n%%: ; @sh -c \"echo $@\"\\n' | make -j3 -f - all | sort"],
    **{name: [f"{PROGRAMS}/{name}"] for name in ("fork_threads", "thread_storm", "cxx_hello", "aligned_new", "thread_ends")},
}


def run(command, settings):
    environment = {**os.environ, **settings}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as e:
        return "hangs", e.stdout or b"", e.stderr or b""
    return done.returncode, done.stdout, done.stderr


def settings_of(rng):
    settings = {}
    for name in rng.sample(sorted(VALUES), rng.choice((2, 3, 3, 4, 6, 8, 12))):
        words = f"XSIGMA_{name}={rng.choice(VALUES[name])}".split()
        for word in words:
            settings.setdefault(*word.split("=", 1))
    if settings.get("XSIGMA_BFC_GROWTH") == "0": # nor is there a smaller region
        settings["XSIGMA_BFC_INITIAL"] = "2G"
    settings.setdefault("XSIGMA_STATS_FILE", "report.json")
    if "XSIGMA_STATS_CHILDREN" in settings: # a child's stderr may be what its parent reads
        settings["XSIGMA_LOG"] = "off"
    return settings


def main():
    rng = random.Random(SEED)
    with open("lines", "w", encoding="ascii") as f:
        f.writelines(f"{rng.random()} {'x' * rng.randrange(60)}\n" for _ in range(60000))
    commands = {n: c for n, c in COMMANDS.items() if shutil.which(c[0]) and (n in c[0] or shutil.which(n))}
    wanted = {name: run(command, {}) for name, command in commands.items()}
    failures = 0
    for _ in range(ROUNDS):
        name = rng.choice(sorted(commands))
        settings = settings_of(rng)
        got = run(commands[name], {"LD_PRELOAD": LIBRARY, **settings})
        wrong = [] if got[:2] == wanted[name][:2] else [f"status {got[0]}, not {wanted[name][0]}; output {got[1][-200:]}"]
        for path in glob.glob("report*"):
            if path.endswith(".json") and "XSIGMA_STATS_FORMAT" not in settings and "XSIGMA_STATS_INTERVAL" not in settings:
                with open(path, encoding="utf-8") as f:
                    try:
                        json.load(f)
                    except ValueError as e:
                        wrong.append(f"{path}: {e}")
            os.unlink(path)
        if wrong:
            failures += 1
            print("FAIL:", name, " ".join(f"'{n}={v}'" for n, v in settings.items()), "; ".join(wrong), got[2][-400:].decode(errors="replace"), flush=True)
    print(f"{ROUNDS} combinations, seed {SEED}, {len(commands)} programs: {failures} failures")
    sys.exit(failures != 0)


main()
