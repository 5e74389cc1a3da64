"""The parts of the document beside the tables of loads: what was to be shown, latency, growth, counts, plots."""

import os

import counts
import plots
from results import geometric_mean, short, table

QUANTILES = ("p50", "p99", "p999", "max")
# A step is called super-linear when an operation gets dearer by this factor, and by so much more than a
# program without an allocator does.
STEP, STEP_NS = 1.3, 3.0
CURVES = [  # kind, metric, what, the axis of x
    ("own", "ns_per_op", "CPU ns of malloc and free, threads with blocks of their own", "threads"),
    ("handed", "ns_per_op", "CPU ns of malloc and free, blocks freed by another thread", "threads"),
    ("heap", "replace_ns", "CPU ns of a replacement, 16 B to 256 KiB", "live bytes"),
    ("heap", "fill_ns", "CPU ns to allocate and touch a block, 16 B to 256 KiB", "live bytes"),
    ("objects", "replace_ns", "CPU ns of a replacement, objects of 16 to 48 B", "live objects"),
    ("objects", "fill_ns", "CPU ns to allocate an object, 16 to 48 B", "live objects"),
    ("objects", "drain_ns", "CPU ns to free an object, 16 to 48 B", "live objects"),
]

# What makes a curve rise, said beside it; each was looked into when the step was first seen.
WHY = {
    ("own", "ns_per_op"): "All threads together do the same work at every number, so at 32 and 64 the first blocks of "
    "each thread, which are page faults, are a larger part: with `growth own 64 16000000` the step is gone.",
    ("handed", "ns_per_op"): "With one thread nothing is handed over; from two on the lines of each block move to "
    "another core, which every allocator pays for. Beyond the CPUs, threads sleep and wake in turn, and what a thread "
    "left in the cache is gone when it runs again: four times the work costs as much an operation (not the start).",
    ("heap", "replace_ns"): "At 256 MiB the blocks are beyond the last level cache: the one that is freed and the place "
    "of the new one are misses, under every allocator; the floor takes the same place again. At 16 GiB the page tables, "
    "32 MiB, are beyond it too. What differs between runs there (seven of the own core: 1.2 to 5.6 us, four of tcmalloc: "
    "2.2 to 5.5, the floor: 0.3 to 3.4) is not in the heap: 200,000 replacements make 20,000 to "
    "60,000 faults on new pages, at 1.5 us or, where memory is short or the host has not backed it yet, up to 10; and "
    "while other programs have the machine at 90 % (XSIGMA_PRESSURE_WARN) free memory is not kept, so that each large "
    "block's pages are faults again: 1 GiB at 94 % of a limit takes 22 us instead of 0.7.",
    ("heap", "fill_ns"): "This is page faults, a page zeroed each. What varies is the machine: memory that the host of a "
    "virtual one has not backed yet costs several times as much at its first touch, with as many faults.",
    ("objects", "replace_ns"): "At 10^5 the objects, 5 MiB with what describes them, no longer fit the second level "
    "cache. The floor has them packed, without records, and steps one size later. At 10^8, 5 GiB, page tables are beyond "
    "the caches as well, and every allocator, whose places are spread wider than the floor's, about doubles.",
    ("objects", "fill_ns"): "Nearly all beyond the first thousands is page faults. XSigma takes huge pages while they are "
    "seen to cost less than small ones: 14 ns then at 10^7, 22 to 25 where the machine has none to spare, as at 10^8.",
    ("objects", "drain_ns"): "Objects are freed in the order of the list. To 10^6 each was replaced once and more "
    "often before, of 10^7 a third, of 10^8 one in thirty: so the order is random in memory where the heap is beyond "
    "the cache, and at 10^8 nearly that of the addresses again.",
}


def named(results, name):
    return next((a for a in results.allocators if a.name == name), None)


# ---- latency ----

def latency(results):
    rows = results.section("latency")
    if not rows:
        return []
    timers = [results.value(r, a, "timer_ns") for r in rows for a in results.allocators]
    parts = ["## Latency of single calls",
             "Every call is timed by the cycle counter; a figure contains one reading of it, which alone takes "
             f"{short(max(t for t in timers if t))} ns (median of empty intervals) and is not subtracted. ns, "
             "medians over the repetitions. What interrupts a thread is in p99.9 and in the maximum of all."]
    for row in rows:
        body = []
        for a in results.allocators:
            values = [results.value(row, a, f"{call}_{q}_ns") for call in ("malloc", "free") for q in QUANTILES]
            if values[0] is not None:
                body.append([a.name] + [short(v) for v in values])
        parts += [f"`{row.name}`:", table(["allocator"] + [f"{c} {q.replace('p999', 'p99.9')}" for c in (
            "malloc", "free") for q in QUANTILES], body)]
    return parts


# ---- growth ----

def curve(results, kind, metric):
    """({allocator: [(x, y)]}, the floor's [(x, y)])."""
    series, floor = {}, []
    rows = [(row.name.split("/"), row) for row in results.section("growth")]
    # Rows of several runs come run by run.
    for words, row in sorted((r for r in rows if r[0][1] == kind), key=lambda r: int(r[0][2])):
        for a in results.allocators:
            value = results.value(row, a, metric)
            if value is None:
                continue
            (floor if words[-1] == "floor" else series.setdefault(a.name, [])).append((int(words[2]), value))
    return series, floor


def steps(points, floor):
    """The x to which the step is super-linear."""
    plain = dict(floor)
    found = []
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        allowed = max(1.0, plain[x1] / plain[x0]) if x0 in plain and x1 in plain else 1.0
        if y1 > STEP * allowed * y0 and y1 - y0 > STEP_NS:
            found.append(x1)
    return found


def growth(results):
    if not results.section("growth"):
        return []
    parts = ["## How cost grows",
             "Where an operation costs the same at every size, the curve is flat. `*` marks a super-linear step: "
             f"dearer than the size before by more than {STEP} times what the machine's caches and page tables add "
             "(`no allocator`: the same accesses to blocks in one mapping), and by more than "
             f"{STEP_NS:.0f} ns. Threads beyond the machine's CPUs take turns."]
    flagged = []
    for kind, metric, what, x_title in CURVES:
        series, floor = curve(results, kind, metric)
        if not series:
            continue
        marks = {n: set(steps(p, floor)) for n, p in series.items()}
        shown = dict(series, **({"no allocator": floor} if floor else {}))
        xs = sorted({x for p in shown.values() for x, _ in p})
        body = []
        for x in xs:
            cells = [plots.number(x)]
            for n, p in shown.items():
                value = dict(p).get(x)
                cells.append("-" if value is None else short(value) + "*" * (x in marks.get(n, ())))
            body.append(cells)
        flagged += [f"{n}: {what}, {x_title} {plots.number(x)}" for n in series for x in sorted(marks[n])
                    if n.startswith("xsigma")]
        parts += [f"{what}, by {x_title}:", table([x_title] + list(shown), body)]
        parts += [WHY[kind, metric]] if (kind, metric) in WHY else []
    parts.append("Super-linear steps of ours: " + ("; ".join(flagged) if flagged else "none") + ".")
    return parts


# ---- counts ----

def not_counted(counted, start):
    failed = sorted({f"{a} ({why})" for n, found in counted.items() if n.startswith(start)
                     for a, why in found.items() if isinstance(why, str)})
    return ["Not counted: " + "; ".join(failed) + "."] if failed else []


def instruction_rows(counted):
    """{program: {allocator: instructions}}, what could not be counted left out."""
    return {n.split("/", 1)[1]: {a: v for a, v in found.items() if isinstance(v, int)}
            for n, found in counted.items() if n.startswith("instructions/")}


def more_instructions(counted, name, base):
    """{program: by how much more, in per cent, `name` runs than `base`}, and of START the number."""
    rows = {p: v for p, v in instruction_rows(counted).items() if name in v and base in v}
    start = rows.pop(counts.START, None)
    return ({p: (v[name] / v[base] - 1) * 100 for p, v in rows.items()},
            start[name] - start[base] if start else None)


def instruction_table(counted, pairs):
    """Of pairs of allocators: what the first has more than the second."""
    found = {f"{a} / {b}": more_instructions(counted, a, b) for a, b in pairs}
    found = {n: v for n, v in found.items() if v[0] or v[1] is not None}
    listed = sorted({p for more, _ in found.values() for p in more})
    body = [[p] + [f"{more[p]:+.2f} %" if p in more else "-" for more, _ in found.values()] for p in listed]
    body.append(["*geometric mean*"] + [
        f"{(geometric_mean(1 + m / 100 for m in more.values()) - 1) * 100:+.2f} %" if more else "-"
        for more, _ in found.values()])
    body.append(["*start and end*"] + ["-" if start is None else f"{start / 1e6:+.2f} M" for _, start in found.values()])
    return table(["program"] + list(found), body) if found else ""


def instructions(counted, results):
    rows = instruction_rows(counted)
    if not rows:
        return []
    names = [a.name for a in results.allocators if any(a.name in v for v in rows.values())]
    own = [("xsigma-bfc" + m, "xsigma-bfc") for m in ("+stats", "+sample")]
    others = [(n, "xsigma-bfc") for n in ("glibc", "mimalloc", "mimalloc3", "tbb")]
    direct = [(a.name, a.directly) for a in results.allocators if a.directly and a.backend != "bfc"]
    return ["## Instructions of real programs",
            "Counted by valgrind's cachegrind, in user space, child processes included, from a program's start to its "
            "end, reports included; input as in a quick run. `start` is `/bin/true`. What statistics do every 10 ms "
            "they do some fifty times as often here, as valgrind is so much slower.",
            table(["program"] + names, [[p] + [f"{v[n] / 1e6:.2f} M" if n in v else "-" for n in names]
                                        for p, v in rows.items()]),
            "More than the own core without statistics; *start and end* is what `start` has more, and in the others too:",
            instruction_table(counted, own + others),
            "A back end over its library preloaded itself. What it adds to each malloc and free (counted by "
            "`tests/integration/must-23-forwarding.sh`): the jump through the page that says who serves, whose block it is, "
            "and with statistics a counter of malloc or two and one of free. A program that does little else between a "
            "malloc and its free shows that:" if direct else "", instruction_table(counted, direct)] + not_counted(counted, "instructions/")


def core_series(counted, kind):
    series = {}
    for name, found in counted.items():
        words = name.split("/")
        if words[0] == "cores" and words[1] == kind:
            for a, figures in found.items():
                if isinstance(figures, dict):
                    series.setdefault(a, []).append((int(words[2]), figures["transfers_per_pair"]))
    return {a: sorted(p) for a, p in series.items()}


CORE_KINDS = (("own", "threads with blocks of their own"),
              ("large", "threads with blocks of their own, 8 KiB to 1 MiB"),
              ("ring", "each thread frees what the one before it allocated"),
              ("pipe", "one thread of two allocates, the other frees"))

# What a table does not show by itself.
CORE_WHY = {
    "large": "XSigma's threads spread over arenas once each has lost so much by turns with others, so the fewer there are "
    "the later they do. With 8 and 4 the trace is over before: `lines large 8 4000` (turns, instead of 900) comes to 1.4 "
    "transfers, `lines large 4 12000` to 2.8. Two stay together, since an arena is memory of its own.",
}


def cores(counted, results):
    if not any(n.startswith("cores/") for n in counted):
        return []
    parts = ["## Lines that move between cores",
             "For more cores than this machine has: `tests/bench/lines.c` runs with so many threads, of which exactly "
             "one has the turn; the turn goes on after every operation, which is the finest interleaving without two of "
             "them inside the allocator. Valgrind's lackey prints every access to memory, and `line_model.c` replays "
             "them on as many cores, with the MESI states, lines of 64 bytes, and caches that lose nothing for want of "
             "room. Counted is each load inside malloc or free of a line that another core has changed, and each store "
             "to one that another core has, after a third of the turns as warm-up. What it does not see: waiting for "
             "locks, retries of compare-and-swap, and choices that an allocator makes by the number of CPUs, but for XSigma, "
             "which has as many arenas as it would have there (XSIGMA_BFC_ARENAS); nor what XSigma does by the clock, as a trace "
             "takes some hundred times as long as what it shows: memory goes back a few times a second at most, and the "
             "record is brought up to date at most each 10 ms and a thousandth of the time: this "
             "reads what all heaps hold, some 70 transfers a heap in all, half of them for the threads that next write there."]
    order = [a.name for a in results.allocators]
    for kind, what in CORE_KINDS:
        series = core_series(counted, kind)
        if not series:
            continue
        names = [n for n in order if n in series]
        xs = sorted({x for p in series.values() for x, _ in p})
        parts += [f"Transfers a pair of malloc and free, {what}:",
                  table(["cores"] + names, [[str(x)] + [f"{dict(series[n])[x]:.3f}" if x in dict(series[n]) else "-"
                                                        for n in names] for x in xs])]
        parts += [CORE_WHY[kind]] if kind in CORE_WHY else []
    return parts + not_counted(counted, "cores/")


def gpu(found):
    if not found:
        return []
    parts = ["## Traces of device memory",
             "On the fake driver of the tests, which knows neither time nor a GPU's speed: what counts are hits, what "
             "is held, and calls of the driver. On a GPU, `scripts/gpu-check` replays the same traces.", found["table"]]
    return parts + (["\n".join("- " + m for m in found["missed"])] if found["missed"] else [])


# ---- what was to be shown ----

def shown(results, counted):
    body = []
    ours = named(results, "xsigma-bfc+stats") or named(results, "xsigma-bfc")
    if ours is None:
        return []

    def add(what, figure, bar, met):
        body.append([what, figure, bar, "-" if met is None else "yes" if met else "**no**"])

    cpu, rss = (results.mean_against(ours, m) for m in ("cpu", "peak_rss_kib"))
    worst = results.worst(ours, "cpu")
    if cpu and worst:
        add(f"CPU mean / {results.reference}", short(cpu[0]), "0.95", cpu[0] <= 0.95)
        add("load that is worst against its best peer", f"{short(worst[0])} ({worst[1]})", "1.10", worst[0] <= 1.10)
        add(f"peak RSS mean / {results.reference}", short(rss[0]), "0.65", rss[0] <= 0.65)
    def add_instructions(what, name, base, bar):
        more, start = more_instructions(counted, name, base)
        if more:
            most = max(more, key=more.get)
            mean = (geometric_mean(1 + m / 100 for m in more.values()) - 1) * 100
            add(f"instructions, {what}: mean; highest", f"{mean:+.2f} %; {more[most]:+.2f} % ({most})"
                + (f"; start and end {start / 1e6:+.2f} M" if start is not None else ""), f"{bar:.0f} %", more[most] <= bar)

    add_instructions("statistics over off", "xsigma-bfc+stats", "xsigma-bfc", 1)
    add_instructions("sampling over off", "xsigma-bfc+sample", "xsigma-bfc", 2)
    for a in results.allocators:
        if a.directly and a.backend != "bfc":
            add_instructions(f"{a.name} over {a.directly}", a.name, a.directly, 3)
    for a in results.allocators:
        if a.directly is None or named(results, a.directly) is None:
            continue
        ratios = [geometric_mean(results.against_direct(r, a, "cpu")) for r in results.rows if r.weight > 0]
        ratios = [r for r in ratios if r]
        if ratios:
            add(f"{a.name} / {a.directly}, CPU mean", short(geometric_mean(ratios)), "1.03",
                geometric_mean(ratios) <= 1.03)
    for row in results.rows:
        value = results.value(row, ours, "cpu")
        if value and row.name in ("pair1/64", "fifo1000/64", "churn20k/256", "growth/own/1", "growth/own/2",
                                  "growth/own/64"):
            add(f"allocations a second of CPU time, {row.name}", f"{1000 / value:.1f} M", "10 M", value <= 100)
        if row.section == "latency":
            for call in ("malloc", "free"):
                metric = f"{call}_p999_ns"
                best, mine = results.best_peer(row, metric), results.value(row, ours, metric)
                if best and mine:
                    add(f"p99.9 of {call}, {row.name}; best peer", f"{short(mine)} ns; {short(best[0])} ns ({best[1]})",
                        "below it", mine < best[0])
    for kind, what in CORE_KINDS:
        mine = core_series(counted, kind).get(ours.name)
        if mine:
            x, y = mine[-1]
            add(f"transfers a pair on {x} cores, {what}; on {mine[0][0]}", f"{y:.3f}; {mine[0][1]:.3f}", "", None)
    return ["## What was to be shown", f"`{ours.name}`, in this run:",
            table(["what", "figure", "bar", "met"], body)] if body else []


# ---- plots ----

def as_used(results):
    """Peers, and each back end once: as it is without a variable set, or without statistics if only that was run."""
    run = {(a.backend, a.mode) for a in results.allocators}
    return [a for a in results.allocators
            if a.is_peer or a.mode == "on" or (a.mode == "off" and (a.backend, "on") not in run)]


def charts(results, counted):
    """{file name: SVG}."""
    made = {}
    used = as_used(results)

    def add(name, svg):
        if svg:
            made[name] = svg

    for metric, name, what in (("cpu", "cpu", "CPU time"), ("peak_rss_kib", "rss", "Peak RSS")):
        means = {a.name: results.mean_against(a, metric) for a in results.allocators}
        means = {n: m for n, m in means.items() if m}
        add(f"{name}.svg", plots.bars(f"{what}: weighted geometric mean, lower is better", means,
                                      f"{what} / {results.reference}"))
    both = {a.name: (results.mean_against(a, "cpu"), results.mean_against(a, "peak_rss_kib"))
            for a in used}
    add("cpu-rss.svg", plots.points("CPU time and memory, both lower is better",
                                    {n: (c[0], r[0]) for n, (c, r) in both.items() if c and r},
                                    f"CPU / {results.reference}", f"peak RSS / {results.reference}"))
    for kind, metric, what, x_title in CURVES:
        series, floor = curve(results, kind, metric)
        marks = {(n, x) for n, p in series.items() for x in steps(p, floor)}
        if series:
            shown_ = dict(series, **({"no allocator": floor} if floor else {}))
            add(f"growth-{kind}-{metric.split('_')[0]}.svg", plots.lines(what, shown_, x_title, "ns", marks=marks))
    for kind, what in CORE_KINDS:
        add(f"cores-{kind}.svg", plots.lines(f"Transfers of lines a pair, {what}", core_series(counted, kind), "cores",
                                             "transfers", log_y=False))
    for row in results.section("latency"):
        for call in ("malloc", "free"):
            series = {}
            for a in used:
                values = [results.value(row, a, f"{call}_{q}_ns") for q in QUANTILES]
                if None not in values:
                    series[a.name] = list(zip((50, 10, 1, 0.01), values))
            add(f"{row.name.replace('/', '-')}-{call}.svg", plots.lines(
                f"{row.name}: {call}, p50, p99, p99.9, max", {n: [(i + 1, v) for i, (_, v) in enumerate(p)]
                                                              for n, p in series.items()},
                "1: p50, 2: p99, 3: p99.9, 4: max", "ns", log_x=False))
    aged = next((r for r in results.rows if r.name == "aging"), None)
    if aged:
        add("aging.svg", plots.lines("An ageing heap: resident by live bytes", {
            a.name: [(e, v) for e in range(40) if (v := results.value(aged, a, f"resident_by_live_{e:02d}"))]
            for a in used if a.is_peer or a.backend == "bfc"}, "epoch", "RSS / live", log_x=False, log_y=False))
    return made


def pictures(made, folder):
    return [f"![{os.path.splitext(n)[0]}]({folder}/{n})" for n in made]
