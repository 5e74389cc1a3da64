"""Statistics over the runs, and the tables."""

import math
import statistics

UNITS = {"domain": "ms", "programs": "ms"}  # else ns per operation
TITLES = {
    "micro": "Micro: CPU ns per operation, one thread",
    "threads": "Threads: CPU ns per operation",
    "memory": "Fragmentation: CPU ns per operation",
    "domain": "Computations of the domains: CPU ms of a run",
    "programs": "Programs: CPU ms of a run",
}
# A row that is this much slower than the library used directly is marked.
MARK = 1.03


def summary_of(samples):
    """Median, extremes and samples of each number that the runs gave."""
    found = {}
    for name in samples[0]:
        values = [s[name] for s in samples if name in s]
        found[name] = {"median": statistics.median(values), "min": min(values),
                       "max": max(values), "samples": values}
    return found


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def short(value):
    """Three digits that say something."""
    if value is None:
        return "-"
    if value < 9.995:
        return f"{value:.2f}"
    if value < 99.95:
        return f"{value:.1f}"
    return f"{value:.0f}"


class Results:
    """rows, allocators, and cells[row name][allocator name] = summary_of(...)."""

    def __init__(self, rows, allocators, samples, failures, against=None):
        self.rows = rows
        self.allocators = allocators
        self.peers = [a for a in allocators if a.is_peer]
        self.failures = failures
        names = [a.name for a in self.peers]
        self.reference = next((n for n in (against, "mimalloc3", "mimalloc", "glibc") if n in names), None)
        self.cells = {r.name: {a.name: summary_of(samples[r.name, a.name])
                               for a in allocators if samples.get((r.name, a.name))} for r in rows}

    def value(self, row, allocator, metric):
        cell = self.cells[row.name].get(allocator.name)
        return cell[metric]["median"] if cell and metric in cell else None

    def best_peer(self, row, metric):
        """(value, name) or None."""
        have = [(self.value(row, a, metric), a.name) for a in self.peers]
        return min((h for h in have if h[0] is not None), default=None)

    def ratio(self, row, allocator, metric):
        best, value = self.best_peer(row, metric), self.value(row, allocator, metric)
        return value / best[0] if best and best[0] and value is not None else None

    def spread(self, row, metric):
        """Of the repetitions, (max - min) / median; the middle one of the allocators'."""
        cells = [c[metric] for c in self.cells[row.name].values() if len(c[metric]["samples"]) > 1]
        if not cells:
            return None
        return statistics.median((c["max"] - c["min"]) / c["median"] for c in cells)

    def whole(self, rows, metric):
        """The rows on which every allocator has a value."""
        return [r for r in rows if all(self.value(r, a, metric) for a in self.allocators)]

    def mean_ratio(self, rows, allocator, metric):
        """To the best peer of each row, each row alike."""
        if not self.peers:
            return None
        return geometric_mean(self.ratio(r, allocator, metric) for r in self.whole(rows, metric))

    def weighted(self, metric):
        """The rows that count, as far as every allocator has a value."""
        return self.whole([r for r in self.rows if r.weight > 0], metric)

    def mean_against(self, allocator, metric):
        """(mean, least, most) over the weighted rows of the ratio to the reference's value; the extremes
        are of the means of single repetitions."""
        rows = self.weighted(metric)
        if not rows or self.reference is None:
            return None

        def mean(pick):
            logs = sum(r.weight * math.log(pick(self.cells[r.name][allocator.name][metric]) /
                                           pick(self.cells[r.name][self.reference][metric])) for r in rows)
            return math.exp(logs / sum(r.weight for r in rows))
        reps = max(len(self.cells[r.name][allocator.name][metric]["samples"]) for r in rows)
        each = [mean(lambda c, k=k: c["samples"][k] if k < len(c["samples"]) else c["median"])
                for k in range(reps)]
        return mean(lambda c: c["median"]), min(each), max(each)

    def worst(self, allocator, metric):
        """(ratio to the best peer, row) of the weighted row where that is highest."""
        return max(((self.ratio(r, allocator, metric), r.name) for r in self.weighted(metric)
                    if self.ratio(r, allocator, metric) is not None), default=None)

    def against_direct(self, row, allocator, metric):
        """This / the same library used directly, of each repetition; [] if one is missing."""
        mine = self.cells[row.name].get(allocator.name)
        direct = self.cells[row.name].get(allocator.directly)
        if not mine or not direct:
            return []
        pairs = zip(mine[metric]["samples"], direct[metric]["samples"])
        return [m / d for m, d in pairs]

    def section(self, *names):
        return [r for r in self.rows if r.section in names]

    # ---- JSON ----

    def as_json(self):
        means = {}
        for names in (["micro"], ["threads"], ["memory"], ["domain"], ["programs"]):
            rows = self.section(*names)
            if rows:
                means[" and ".join(names)] = {
                    metric: {a.name: self.mean_ratio(rows, a, metric) for a in self.allocators}
                    for metric in ("cpu", "peak_rss_kib")}
        return {
            "allocators": [a.described() for a in self.allocators],
            "rows": [{"name": r.name, "section": r.section, "weight": r.weight,
                      "cpu_unit": UNITS.get(r.section, "ns"), "results": self.cells[r.name]}
                     for r in self.rows],
            "reference": self.reference,
            "weighted_mean_against_reference": {
                metric: {a.name: self.mean_against(a, metric) for a in self.allocators}
                for metric in ("cpu", "peak_rss_kib")},
            "geometric_mean_of_ratio_to_best_peer": means,
            "failures": [{"row": r, "allocator": a, "why": w} for r, a, w in self.failures],
        }

    # ---- Markdown ----

    def values_table(self, rows, metric, scale=1.0):
        head = ["row"] + [a.name for a in self.allocators] + ["spread"]
        body = []
        for row in rows:
            best = self.best_peer(row, metric)
            line = [row.name]
            for a in self.allocators:
                value = self.value(row, a, metric)
                text = short(value / scale) if value is not None else self.why_empty(row, a)
                line.append(f"**{text}**" if best and a.name == best[1] else text)
            spread = self.spread(row, metric)
            line.append("-" if spread is None else f"{spread * 100:.0f} %")
            body.append(line)
        return table(head, body)

    def why_empty(self, row, allocator):
        return "failed" if any(f[:2] == (row.name, allocator.name) for f in self.failures) else "-"

    def ratio_table(self, rows, metric):
        head = ["row", "best peer"] + [a.name for a in self.allocators]
        body = []
        for row in rows:
            best = self.best_peer(row, metric)
            body.append([row.name, best[1] if best else "-"] +
                        [short(self.ratio(row, a, metric)) for a in self.allocators])
        body.append(["*geometric mean*", ""] +
                    [short(self.mean_ratio(rows, a, metric)) for a in self.allocators])
        return table(head, body)

    def direct_table(self, rows):
        names = {a.name for a in self.allocators}
        columns = [a for a in self.allocators if a.directly in names]
        if not columns:
            return ""
        middle, body, marked = {}, [], {a.name: 0 for a in columns}
        for row in rows:
            line = [row.name]
            for a in columns:
                ratios = self.against_direct(row, a, "cpu")
                ratio = statistics.median(ratios) if ratios else None
                middle[row.name, a.name] = ratio
                # Noise is seldom on the same side each time.
                slow = ratio is not None and ratio > MARK and min(ratios) > 1
                marked[a.name] += slow
                line.append(f"**{short(ratio)}**" if slow else short(ratio))
            body.append(line)
        for names in (("micro",), ("threads",), ("domain",), ("programs",)):
            part = [r for r in rows if r.section in names]
            if part:
                body.append([f"*geometric mean, {names[0]}*"] + [
                    short(geometric_mean(middle[r.name, a.name] for r in part
                                         if middle[r.name, a.name])) for a in columns])
        body.append(["*rows in bold*"] + [str(marked[a.name]) for a in columns])
        return table(["row"] + [f"{a.name} / {a.directly}" for a in columns], body)

    def fill_table(self, rows):
        body = []
        for row in rows:
            for a in self.allocators:
                live = self.value(row, a, "live_kib")
                if live is None:
                    body.append([row.name, a.name, self.why_empty(row, a), "", "", ""])
                    continue
                rss, trimmed = (self.value(row, a, m) for m in ("rss_kib", "rss_trimmed_kib"))
                body.append([row.name, a.name, short(live / 1024), short(rss / live),
                             short(trimmed / live),
                             short(self.value(row, a, "peak_rss_kib") / 1024)])
        return table(["row", "allocator", "live MiB", "RSS / live", "after malloc_trim",
                      "peak RSS MiB"], body)

    def summary_table(self):
        """One line an allocator."""
        def three(triple):
            return f"{short(triple[0])} ({short(triple[1])} to {short(triple[2])})" if triple else "-"

        body = []
        for a in self.allocators:
            worst = self.worst(a, "cpu")
            body.append([a.name, three(self.mean_against(a, "cpu")),
                         three(self.mean_against(a, "peak_rss_kib")),
                         f"{short(worst[0])} on {worst[1]}" if worst else "-",
                         short(geometric_mean(self.ratio(r, a, "cpu") for r in self.weighted("cpu"))
                               if self.peers else None)])
        return table(["allocator", f"CPU / {self.reference}", f"peak RSS / {self.reference}",
                      "CPU, worst against the best peer", "CPU, mean against the best peer"], body)

    def summary(self):
        rows = self.weighted("cpu")
        if not rows or not self.peers:
            return []
        lost = [r.name for r in self.rows if r.weight > 0 and r not in rows]
        return ["## Together",
                f"Weighted geometric means over {len(rows)} loads (the list and its weights are "
                f"`tests/bench/weights`; micro rows are outside) of the ratio to {self.reference}; in brackets the "
                "least and the highest mean of a single repetition."
                + (f" Without {', '.join(lost)}, where not every allocator has a result." if lost else ""),
                self.summary_table()]

    def tables(self):
        parts = []
        for section in ("micro", "threads", "domain", "programs", "memory"):
            rows = self.section(section)
            if not rows:
                continue
            parts += [f"## {TITLES[section]}", self.values_table(rows, "cpu")]
            if self.peers:
                parts += ["The same as a ratio to the best peer:", self.ratio_table(rows, "cpu")]
            if section != "micro":
                parts += ["Peak RSS, MiB:", self.values_table(rows, "peak_rss_kib", 1024)]
                if self.peers:
                    parts += ["The same as a ratio to the leanest peer:",
                              self.ratio_table(rows, "peak_rss_kib")]
            fills = [r for r in rows if r.name.startswith("fill")]
            if fills:
                parts += ["What is resident at the end. A peer without a malloc_trim of its own "
                          "keeps what it has: the C library's only trims the C library's heap.",
                          self.fill_table(fills)]
            if any(r.name == "aging" for r in rows):
                aged = next(r for r in rows if r.name == "aging")
                parts += ["`aging`, resident by live bytes, mean over its 40 epochs:",
                          table([a.name for a in self.allocators],
                                [[short(self.value(aged, a, "resident_by_live")) for a in self.allocators]])]
        return parts

    def direct(self):
        text = self.direct_table([r for r in self.rows if r.section in TITLES and r.section != "memory"])
        if not text:
            return []
        return ["## What a back end costs",
                "CPU time with XSigma in front of a library, over that library preloaded itself: the median of "
                f"the ratios within each repetition. Bold: above {MARK}, and slower in each repetition.", text]


def table(head, body):
    lines = [head] + body
    widths = [max(len(str(line[c])) for line in lines) for c in range(len(head))]

    def row(cells):
        padded = [str(x).ljust(w) if c == 0 else str(x).rjust(w)
                  for c, (x, w) in enumerate(zip(cells, widths))]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * w if c == 0 else "-" * max(w - 1, 1) + ":"
                             for c, w in enumerate(widths)) + " |"
    return "\n".join([row(head), rule] + [row(line) for line in body])
