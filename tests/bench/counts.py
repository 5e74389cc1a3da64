"""What is counted, not timed: instructions by valgrind's cachegrind, transfers of cache lines between the
cores of a model, driver calls of the GPU traces. Other work on the machine does not change these, so they
run beside each other.
"""

import concurrent.futures
import glob
import json
import os
import re
import subprocess
import tempfile

import loads
import programs
from allocators import clean_env

# Programs that allocate much, run under valgrind in seconds, and do the same each time: what seeds its hashes
# by the time of day is not among them. Input is that of a quick run.
COUNTED = ("python3-json", "perl-hashes", "gawk-words", "lua-tables", "sqlite3-memory", "xsltproc-table",
           "jq-query", "bash-strings", "gcc-O2", "git-log")
COUNTED_QUICK = ("sqlite3-memory",)
# One that allocates nothing to speak of: what a start and a report cost.
START = "start"
# Valgrind leaves too little address space for the reservation that this back end makes by itself, and without
# one that suffices it takes longer ways.
IN_VALGRIND = {"mimalloc": {"XSIGMA_RESERVE": "16G"}}


def valgrind(arguments, command, allocator, work, **how):
    """The command under valgrind, with this allocator."""
    at = 0
    while "=" in command[at] and not command[at].startswith(("/", "-")):
        at += 1
    env = dict(clean_env(work), **allocator.env, **IN_VALGRIND.get(allocator.backend, {}),
               **dict(w.split("=", 1) for w in command[:at]))
    return subprocess.Popen(["valgrind", "--quiet"] + arguments + command[at:], env=env, cwd=work,
                            stdin=subprocess.DEVNULL, **how)


def instructions(command, allocator, work):
    """Of the program and its children, in user space; or why not."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        with open(os.path.join(folder, "out"), "wb") as out, open(os.path.join(folder, "err"), "wb") as err:
            child = valgrind(["--tool=cachegrind", "--cache-sim=no", "--trace-children=yes",
                              f"--cachegrind-out-file={folder}/count.%p"], command, allocator, work,
                             stdout=out, stderr=err)
            try:
                status = child.wait(timeout=900)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                return "no end"
        if status != 0:
            with open(os.path.join(folder, "err"), "rb") as err:
                return f"status {status}: {err.read().decode(errors='replace').strip()[-200:]}"
        total = 0
        for path in glob.glob(os.path.join(folder, "count.*")):
            with open(path, encoding="utf-8", errors="replace") as f:
                found = re.findall(r"^summary: (\d+)", f.read(), re.MULTILINE)
            total += int(found[-1]) if found else 0
        return total or "cachegrind counted nothing"


def counted_programs(wanted, work):
    """[(name, command)] of the programs that are here, with their input made, and START."""
    found = [(START, ["/bin/true"])] if START in wanted else []
    folder = os.path.join(work, "counted")
    os.makedirs(folder, exist_ok=True)

    def add(name, command, _seconds, prepare):
        if name in wanted:
            prepare()
            found.append((name, command))

    programs.program_rows(add, folder, True)
    return found


def transfers(kind, threads, turns, allocator, bin_dir, work):
    """What line_model says of a trace, as a dictionary, or why not. XSigma keeps no record and gives nothing back:
    both go by the clock, and by that a trace takes some hundred times as long as what it shows. It has as many arenas
    as a machine of so many processors would have."""
    settings = ["XSIGMA_RECORD=off", "XSIGMA_CPU_DECAY=3600s", f"XSIGMA_BFC_ARENAS={threads}"]
    with tempfile.TemporaryFile(dir=work) as err:
        traced = valgrind(["--tool=lackey", "--trace-mem=yes", "--log-fd=1"],
                          settings + [os.path.join(bin_dir, "lines"), kind, str(threads), str(turns)], allocator, work,
                          stdout=subprocess.PIPE, stderr=err)
        model = subprocess.Popen([os.path.join(bin_dir, "line_model")], stdin=traced.stdout,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env(work))
        traced.stdout.close()
        try:
            out, why = model.communicate(timeout=900)
            status = traced.wait(timeout=60)
        except subprocess.TimeoutExpired:
            for p in (traced, model):
                p.kill()
                p.wait()
            return "no end"
        if status != 0 or model.returncode != 0:
            err.seek(0)
            said = (err.read() + b" " + why).decode(errors="replace").split()
            return f"status {status}: {' '.join(said)[:200]}"
    return loads.numbers(out.decode())


def jobs(wanted, found, quick, bin_dir, work):
    """[(name of the row, allocator's name, function)]: what `count` runs of the rows for which wanted(name)."""
    listed = []
    names = (START,) + (COUNTED_QUICK if quick else COUNTED)
    programs_wanted = [n for n in names if wanted(f"instructions/{n}")]
    same = {a.directly for a in found} | {"glibc", "mimalloc3"}
    for name, command in counted_programs(programs_wanted, work):
        for a in found:
            if not a.is_peer or a.name in same:
                listed.append((f"instructions/{name}", a.name,
                               lambda command=command, a=a: instructions(command, a, work)))
    for kind in ("own", "large", "ring", "pipe"):
        for n in ((2, 8) if quick else (1, 2, 4, 8, 16, 32, 64)):
            if (kind == "pipe" and n == 1) or not wanted(f"cores/{kind}/{n}"):
                continue
            turns = 150 if quick else 900 if kind == "large" else 300
            for a in found:
                if loads.one_of_each(a):
                    listed.append((f"cores/{kind}/{n}", a.name,
                                   lambda kind=kind, n=n, turns=turns, a=a:
                                   transfers(kind, n, turns, a, bin_dir, work)))
    return listed


def count(listed, progress, deadline):
    """Runs the jobs, as many at once as there are CPUs; {row: {allocator: figure or why not}}."""
    results = {}

    def run(job):
        figure = "the time was up"
        # Who fails once may have been in somebody's way.
        for _ in range(2):
            if isinstance(figure, str) and not deadline():
                figure = job[2]()
        return job, figure

    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for future in concurrent.futures.as_completed([pool.submit(run, j) for j in listed]):
            (row, allocator, _), figure = future.result()
            results.setdefault(row, {})[allocator] = figure
            progress.step(1, f"counting: {row}, {allocator}")
    return results


def gpu_traces(root, library, quick, patterns, work):
    """{"table": Markdown, "rows": [...], "missed": [...], "failures": [...]} on the fake driver."""
    out = os.path.join(work, "gpu.json")
    build = os.path.join(root, "build")
    command = [os.path.join(root, "tests", "bench", "gpu-traces.sh"), "--no-check", "--json", out,
               "--iterations", "10" if quick else "150"]
    for pattern in patterns:
        command += ["--trace", pattern]
    env = dict(clean_env(work), XS_LIB=library, XS_BUILD=build)
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1200, check=False)
    except subprocess.TimeoutExpired:
        return {"table": "", "rows": [], "missed": [], "failures": ["no end"]}
    lines = done.stdout.splitlines()
    found = {"table": "\n".join(line for line in lines if line.startswith("|")), "rows": [],
             "missed": [line for line in lines if line.startswith("MISSED")],
             "failures": [line for line in lines if line.startswith("FAIL")]}
    if done.returncode != 0 and not found["failures"]:
        found["failures"] = [f"status {done.returncode}: {(done.stdout + done.stderr).strip()[-200:]}"]
    if os.path.exists(out):
        with open(out, encoding="utf-8") as f:
            found["rows"] = json.load(f)
    return found
