"""Statistics over the runs, and the tables."""

import math
import statistics

UNITS = {"micro": "ns", "threads": "ns", "memory": "ns", "programs": "ms"}
TITLES = {
    "micro": "Micro: CPU ns per operation, one thread",
    "threads": "Threads: CPU ns per operation",
    "memory": "Fragmentation: CPU ns per operation",
    "programs": "Programs: CPU ms of a run",
}
# A row that is this much slower than the library used directly is marked.
MARK = 1.05


def summary_of(samples):
    """Median, extremes and samples of each number that the runs gave."""
    found = {}
    for name in samples[0]:
        values = [s[name] for s in samples]
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

    def __init__(self, rows, allocators, samples, failures):
        self.rows = rows
        self.allocators = allocators
        self.peers = [a for a in allocators if a.is_peer]
        self.failures = failures
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

    def mean_ratio(self, rows, allocator, metric):
        """Over the rows on which every allocator has a value."""
        whole = [r for r in rows if all(self.value(r, a, metric) for a in self.allocators)]
        if not self.peers:
            return None
        return geometric_mean(self.ratio(r, allocator, metric) for r in whole)

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
        for names in (["micro"], ["threads"], ["memory"], ["programs"], ["threads", "programs"]):
            rows = self.section(*names)
            if rows:
                means[" and ".join(names)] = {
                    metric: {a.name: self.mean_ratio(rows, a, metric) for a in self.allocators}
                    for metric in ("cpu", "peak_rss_kib")}
        return {
            "allocators": [a.described() for a in self.allocators],
            "rows": [{"name": r.name, "section": r.section, "cpu_unit": UNITS[r.section],
                      "results": self.cells[r.name]} for r in self.rows],
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
        for names in (("micro",), ("threads",), ("programs",)):
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

    def text(self):
        parts = []
        for section in ("micro", "threads", "programs", "memory"):
            rows = self.section(section)
            if not rows:
                continue
            parts += [f"## {TITLES[section]}", self.values_table(rows, "cpu")]
            if self.peers:
                parts += ["The same as a ratio to the best peer:", self.ratio_table(rows, "cpu")]
            if section in ("threads", "programs"):
                parts += ["Peak RSS, MiB:", self.values_table(rows, "peak_rss_kib", 1024)]
                if self.peers:
                    parts += ["The same as a ratio to the leanest peer:",
                              self.ratio_table(rows, "peak_rss_kib")]
            if section == "memory":
                parts += ["What is resident at the end. A peer without a malloc_trim of its own "
                          "keeps what it has: the C library's only trims the C library's heap.",
                          self.fill_table(rows)]
        direct = self.direct_table([r for r in self.rows if r.section != "memory"])
        if direct:
            parts += ["## What routing costs",
                      "CPU time with XSigma in front of a library, over that library preloaded "
                      "itself: the median of the ratios within each repetition. Bold: above "
                      f"{MARK}, and slower in each repetition.", direct]
        both = self.section("threads", "programs")
        if both and self.peers:
            parts += ["## Together", "Threads and programs, geometric mean of the ratio to the best "
                      "peer of each row; micro rows are outside of it.",
                      table(["", *(a.name for a in self.allocators)],
                            [[name] + [short(self.mean_ratio(both, a, m)) for a in self.allocators]
                             for name, m in (("CPU", "cpu"), ("peak RSS", "peak_rss_kib"))])]
        if self.failures:
            parts += ["## Failures", "\n".join(f"- {r}, {a}: `{w}`" for r, a, w in self.failures)]
        return "\n\n".join(parts) + "\n"


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
