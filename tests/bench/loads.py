"""The rows: what each runs, how long, and how a run is measured."""

import hashlib
import os
import signal
import subprocess

import programs
from allocators import clean_env, output_of

HERE = os.path.dirname(os.path.abspath(__file__))
# Rows of these print "name value" lines; the others print an answer that has to be the same everywhere.
FIGURES = ("micro", "threads", "memory", "latency", "growth")
GIB = 1 << 30


class Row:
    """`seconds` is a first guess of a run's time, `most` the repetitions that are worth it, `takes` says
    which allocators run it; `prepare` makes the input."""

    def __init__(self, name, section, command, seconds, most=99, prepare=None, takes=None, weight=0):
        self.name = name
        self.section = section
        self.command = command
        self.seconds = seconds
        self.most = most
        self.prepare = prepare or (lambda: None)
        self.takes = takes or (lambda allocator: True)
        self.weight = weight
        self.output = None  # of the first run; every other has to be the same


class Failed(Exception):
    """A run that has no result; says why."""


def weights():
    """{(section, name): weight} of tests/bench/weights."""
    found = {}
    with open(os.path.join(HERE, "weights"), encoding="utf-8") as f:
        for line in f:
            words = line.split(None, 3)
            if words and not line.startswith("#"):
                found[words[0], words[1]] = float(words[2])
    return found


def wide(allocator):
    """Peers, and the own core: what is compared on the long rows."""
    return allocator.is_peer or allocator.backend == "bfc"


def one_of_each(allocator):
    """Peers, and the own core as a user gets it."""
    return allocator.is_peer or (allocator.backend == "bfc" and allocator.mode == "on")


def memory_for_growth():
    """What the largest heap may take: of what is free now, what leaves the rest of the machine room."""
    with open("/proc/meminfo", encoding="ascii") as f:
        for line in f:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 * 0.92
    return GIB


def growth_rows(bin_dir, quick):
    """Returns rows and a line about what does not fit."""
    growth = os.path.join(bin_dir, "growth")
    free, missing, rows = memory_for_growth(), [], []
    most = 1 if quick else 3
    ops = 300000 if quick else 4000000
    for kind in ("own", "handed"):
        for n in ((1, 2, 8) if quick else (1, 2, 4, 8, 16, 32, 64)):
            rows.append(Row(f"growth/{kind}/{n}", "growth", [growth, kind, str(n), str(ops)], ops * 6e-8, most,
                            takes=one_of_each))

    def scaled(kind, sizes, bytes_each, seconds):
        for n in sizes:
            if n * bytes_each > free:
                missing.append(f"growth/{kind}/{n}: needs {n * bytes_each / GIB:.1f} GiB, "
                               f"{free / GIB:.1f} are to be had")
                continue
            big = n * bytes_each > GIB
            for extra in ([], ["floor"]):
                rows.append(Row("/".join(["growth", kind, str(n)] + extra), "growth",
                                [growth, kind, str(n)] + extra, seconds(n), 1 if big else most,
                                takes=(lambda a: a.name == "glibc") if extra else one_of_each))

    heap = [1 << 20 << (2 * i) for i in range(3 if quick else 8)]
    scaled("heap", heap, 1.2, lambda n: 0.15 + n / GIB * 0.5)
    scaled("objects", [10 ** i for i in range(3, 6 if quick else 9)], 64, lambda n: 0.1 + n * 2e-7)
    return rows, missing


def all_rows(bin_dir, quick, threads, work):
    """Returns the rows and lines about what is not here."""
    micro, loads, latency = (os.path.join(bin_dir, p) for p in ("micro", "threads", "latency"))
    micro_scale, scale, fill = (0.08, 0.05, 0.1) if quick else (1, 1, 1)
    counts = weights()
    rows = []

    def add(name, section, command, seconds, **more):
        weight = counts.get((section, name))
        if weight is None:
            raise SystemExit(f"bench: {section} {name} is not in tests/bench/weights")
        rows.append(Row(name, section, command, seconds, weight=weight, **more))

    for name in output_of([micro, "--list"]).split():
        rows.append(Row(name, "micro", [micro, name, str(micro_scale)], 0.02 + 0.16 * micro_scale))
    for name in output_of([loads, "--list"]).split():
        if name.startswith("fill"):
            # What is resident hardly varies, and these are long.
            add(name, "memory", [loads, name, str(fill), "1"], 4 * fill, most=1 if quick else 2)
        else:
            add(name, "threads", [loads, name, str(scale), str(threads)], 0.9 * scale)
    add("aging", "memory", [os.path.join(bin_dir, "aging"), "0.3" if quick else "1", str(threads)],
        0.15 if quick else 0.5)
    for name, program, threaded, seconds in (("monte-carlo", "montecarlo", True, 0.5),
                                             ("multigrid", "multigrid", False, 0.3),
                                             ("risk", "risk", True, 0.55)):
        n = 0.2 if quick else 1
        add(name, "domain", [os.path.join(bin_dir, program), str(n)] + [str(threads)] * threaded, seconds * n)
    missing = programs.program_rows(
        lambda name, command, seconds, prepare: add(name, "programs", command, seconds, prepare=prepare),
        work, quick)
    for name in output_of([latency, "--list"]).split():
        n = 0.1 if quick else 1
        rows.append(Row(f"latency/{name}", "latency", [latency, name, str(n), str(threads)], 0.7 * n,
                        takes=wide))
    more, too_large = growth_rows(bin_dir, quick)
    here = {(r.section, r.name) for r in rows}
    told = {line.split(":")[0] for line in missing}
    missing += [f"{name}: not in this run" for section, name in counts
                if name != "*" and (section, name) not in here and name not in told]
    return rows + more, missing + too_large


def numbers(text):
    """'name value' lines as a dictionary."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        found[name] = float(value)
    return found


def run_once(row, allocator, spawn, work):
    """One run; returns {"cpu": ns per operation or ms, "peak_rss_kib": ..., ...}."""
    used, out, err = (os.path.join(work, n) for n in ("used", "stdout", "stderr"))
    if os.path.exists(used):
        os.unlink(used)
    command = [spawn, used] + [f"{k}={v}" for k, v in allocator.env.items()] + row.command
    # Standard output and standard error are two files: else XSigma's report is not written.
    with open(out, "wb") as o, open(err, "wb") as e:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=o, stderr=e, cwd=work,
                                 env=clean_env(work), start_new_session=True)
        try:
            status = child.wait(timeout=60 + 30 * row.seconds)
        except BaseException as why:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if isinstance(why, subprocess.TimeoutExpired):
                raise Failed("no end") from None
            raise
    with open(out, "rb") as o, open(err, "rb") as e:
        stdout, stderr = o.read(), e.read()
    if status != 0:
        raise Failed(f"status {status}: {stderr.decode(errors='replace').strip()[-300:]}")
    if b"cannot be preloaded" in stderr:
        raise Failed("the library could not be preloaded")
    if allocator.stats and b"xsigma" not in stderr:
        raise Failed("statistics are on, but there was no report")
    with open(used, encoding="ascii") as f:
        result = numbers(f.read())
    if row.section in FIGURES:
        result.update(numbers(stdout.decode()))
        result["cpu"] = result.pop("cpu_ns_per_op", None) or result.get("ns_per_op") or result["replace_ns"]
        return result
    digest = hashlib.sha256(stdout).hexdigest()
    if not stdout:
        raise Failed("no output")
    if row.output not in (None, digest):
        raise Failed("the output differs from the first allocator's")
    row.output = digest
    result["cpu"] = (result["user_us"] + result["system_us"]) / 1000
    return result
