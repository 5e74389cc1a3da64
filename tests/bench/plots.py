"""SVG charts: bars, lines, points. No more than the benchmark's documents need."""

import html
import math

COLOURS = ("#4e79a7", "#f28e2b", "#76b7b2", "#59a14f", "#edc948", "#b07aa1", "#ff9da7", "#9c755f",
           "#79706e", "#86bcb6", "#d37295", "#a0cbe8")
OURS = "#e15759"
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 760, 420, 70, 40, 50, 150


def number(v):
    if v == 0:
        return "0"
    for limit, unit in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if v >= limit and v % limit == 0 and v < limit * 1024:
            return f"{int(v) // limit}{unit}"
    if v >= 1e4:
        return f"{v:.0e}".replace("e+0", "e")
    return f"{v:.4g}"


def colours_of(names):
    """Ours stand out; a peer has the same colour in every chart that has the same peers."""
    peers = iter(COLOURS * 3)
    return {n: OURS if n.startswith("xsigma") else next(peers) for n in names}


def ticks_of(lo, hi, log):
    if log:
        powers = range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1)
        values = [m * 10.0 ** p for p in powers for m in ((1, 2, 5) if len(powers) < 5 else (1,))]
    else:
        step = 10 ** math.floor(math.log10((hi - lo) or 1))
        step = next(s * step for s in (0.2, 0.5, 1, 2) if (hi - lo) / (s * step) <= 8 or s == 2)
        values = [step * i for i in range(math.floor(lo / step), math.ceil(hi / step) + 1)]
    return [v for v in values if lo <= v <= hi]


class Axis:
    """A range of values along a stretch of pixels."""

    def __init__(self, values, start, end, log, from_zero=False):
        self.lo, self.hi, self.log = min(values), max(values), log
        if log:
            self.lo, self.hi = self.lo / 1.15, self.hi * 1.15
        else:
            gap = (self.hi - self.lo or abs(self.hi) or 1) * 0.06
            self.lo, self.hi = (0 if from_zero else self.lo - gap), self.hi + gap
        self.start, self.end = start, end

    def at(self, v):
        f = math.log if self.log else float
        part = (f(v) - f(self.lo)) / (f(self.hi) - f(self.lo))
        return self.start + part * (self.end - self.start)

    def ticks(self):
        return ticks_of(self.lo, self.hi, self.log)


def text(x, y, words, anchor="middle", size=11, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" {more}>{html.escape(words)}</text>'


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def page(title, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'font-family="sans-serif" fill="#222">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
            + "\n".join([text(WIDTH / 2, 20, title, size=14)] + body) + "\n</svg>\n")


def frame(x, y, x_title, y_title, x_ticks=None):
    """Grid, ticks and names of the axes."""
    grid, out = 'stroke="#ddd"', []
    for v in y.ticks():
        out += [line(x.start, y.at(v), x.end, y.at(v), grid), text(x.start - 6, y.at(v) + 4, number(v), "end")]
    for v in x.ticks() if x_ticks is None else x_ticks:
        out += [line(x.at(v), y.start, x.at(v), y.end, grid), text(x.at(v), y.start + 16, number(v))]
    out += [line(x.start, y.start, x.end, y.start, 'stroke="#555"'),
            line(x.start, y.start, x.start, y.end, 'stroke="#555"'),
            text((x.start + x.end) / 2, HEIGHT - 12, x_title)]
    middle = (y.start + y.end) / 2
    out.append(text(16, middle, y_title, more=f'transform="rotate(-90 16 {middle:.1f})"'))
    return out


def legend(names, colours):
    out = []
    for i, name in enumerate(names):
        y = TOP + 10 + i * 18
        out += [f'<rect x="{WIDTH - LEGEND + 14}" y="{y - 8}" width="12" height="10" fill="{colours[name]}"/>',
                text(WIDTH - LEGEND + 31, y + 1, name, "start")]
    return out


def lines(title, series, x_title, y_title, log_x=True, log_y=True, marks=()):
    """series: {name: [(x, y)]}; marks: {(name, x)} get a ring."""
    series = {n: [(a, b) for a, b in p if b > 0 or not log_y] for n, p in series.items()}
    series = {n: p for n, p in series.items() if p}
    every = [p for points in series.values() for p in points]
    if not every:
        return None
    x = Axis([p[0] for p in every], LEFT, WIDTH - LEGEND, log_x)
    y = Axis([p[1] for p in every], HEIGHT - BOTTOM, TOP, log_y, from_zero=True)
    xs = sorted({p[0] for p in every})
    colours = colours_of(series)
    out = frame(x, y, x_title, y_title, xs if len(xs) <= 10 else None)
    for name, points in sorted(series.items(), key=lambda s: s[0].startswith("xsigma")):
        path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
        width = 3 if name.startswith("xsigma") else 1.6
        dash = ' stroke-dasharray="5 4"' if name == "no allocator" else ""
        out.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="{width}"{dash}/>')
        for a, b in points:
            ring = (name, a) in marks
            out.append(f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="{6 if ring else 2.4}" fill="'
                       f'{"none" if ring else colours[name]}" stroke="{colours[name]}"/>')
    return page(title, out + legend(series, colours))


def clear_of(taken, x, y, words):
    """Where a point's name overlaps nothing that is taken: [(x, y, anchor, box)] tried beside, left, above, below."""
    wide = 6.5 * len(words)
    tries = [(x + 9, y + 4, "start"), (x - 9, y + 4, "end"), (x, y - 10, "middle"), (x, y + 19, "middle")]
    for tx, ty, anchor in tries:
        left = tx - {"start": 0, "end": wide, "middle": wide / 2}[anchor]
        box = (left, ty - 10, left + wide, ty + 2)
        if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            return tx, ty, anchor, box
    return tries[0] + (None,)


def points(title, places, x_title, y_title):
    """places: {name: (x, y)}."""
    if not places:
        return None
    x = Axis([p[0] for p in places.values()], LEFT, WIDTH - LEGEND, False)
    y = Axis([p[1] for p in places.values()], HEIGHT - BOTTOM, TOP, False)
    colours = colours_of(places)
    out = frame(x, y, x_title, y_title)
    at = {name: (x.at(a), y.at(b)) for name, (a, b) in places.items()}
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in at.values()]
    for name, (px, py) in at.items():
        out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="6" fill="{colours[name]}"/>')
        tx, ty, anchor, box = clear_of(taken, px, py, name)
        taken += [box] if box else []
        out.append(text(tx, ty, name, anchor, more='font-weight="bold"' if name.startswith("xsigma") else ""))
    return page(title, out)


def bars(title, values, y_title):
    """values: {name: (value, least, most)}, with a whisker from least to most."""
    if not values:
        return None
    every = [v for triple in values.values() for v in triple if v is not None]
    y = Axis(every + [1.0], HEIGHT - BOTTOM - 50, TOP, False, from_zero=True)
    x = Axis([0, len(values)], LEFT, WIDTH - 20, False)
    x.lo, x.hi = 0, len(values)
    colours = colours_of(values)
    out = frame(x, y, "", y_title, [])
    for i, (name, (value, least, most)) in enumerate(values.items()):
        a, b, middle = x.at(i + 0.15), x.at(i + 0.85), x.at(i + 0.5)
        out.append(f'<rect x="{a:.1f}" y="{y.at(value):.1f}" width="{b - a:.1f}" '
                   f'height="{y.start - y.at(value):.1f}" fill="{colours[name]}"/>')
        if least is not None:
            out.append(line(middle, y.at(least), middle, y.at(most), 'stroke="#222" stroke-width="1.5"'))
        out.append(text(middle, y.at(max(value, most or value)) - 5, f"{value:.2f}", size=10))
        out.append(text(middle, y.start + 14, name, "end", 11,
                        f'transform="rotate(-35 {middle:.1f} {y.start + 14:.1f})"'))
    out.append(line(x.start, y.at(1), x.end, y.at(1), 'stroke="#222" stroke-dasharray="4 3"'))
    return page(title, out)
