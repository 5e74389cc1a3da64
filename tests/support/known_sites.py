"""Compares what reports say of sites with what tests/programs/known_sites.cc says of itself.

usage: known_sites.py XSIGMA TRUTH LIBRARY... -- REPORT...
Each REPORT is as the process wrote it: modules and offsets. Each LIBRARY stands for one of the truths
"part_fill", whose blocks are told apart by the module. Prints a line a site: how many of the reports
hold live and peak within what they print. Status 1 where fewer than 90 in 100 do, or of fewer
reports, among which chance weighs more, 70.
"""
import json
import subprocess
import sys


# What vectors, and the library's constructor, allocate at the same sites.
SMALL = 400


class Names:
    """Functions by module and address, asked of the command once."""

    def __init__(self, command):
        self.command = command
        self.known = {}

    def learn(self, path):
        out = subprocess.run([self.command, "report", "--json", path], check=True, capture_output=True)
        for site in json.loads(out.stdout)["sites"]:
            for frame in site["frames"]:
                names = self.known.setdefault((frame["module"], frame["address"]), [])
                if frame["function"] not in names:
                    names.append(frame["function"])

    def of(self, site, path):
        names = []
        for frame in site["frames"]:
            key = (frame["module"], frame["address"])
            if key not in self.known:
                self.learn(path)
            names += self.known.get(key, [])
        return names


def belongs(site, names, function, library):
    modules = [f["module"] for f in site["frames"]]
    if library:
        return any(m.endswith(library) for m in modules)
    return any(n and n.replace("(anonymous namespace)::", "").find(function) >= 0 for n in names)


def within(sites, kind, truth):
    value = sum(s[kind + "_bytes"] for s in sites)
    error = sum(s[kind + "_bytes_error"] ** 2 for s in sites) ** 0.5
    return abs(value - truth) <= error + SMALL


def main():
    command, truth_file = sys.argv[1:3]
    split = sys.argv.index("--")
    libraries, reports = sys.argv[3:split], sys.argv[split + 1:]
    truths = []
    with open(truth_file) as f:
        for line in f:
            name, live, peak = line.rsplit(" ", 2)
            if name == "part_fill":
                truths += [(name, lib, int(live), int(peak)) for lib in libraries]
            else:
                truths.append((name, "", int(live), int(peak)))
    names = Names(command)
    good = {(t[0], t[1], kind): 0 for t in truths for kind in ("live", "peak")}
    for path in reports:
        with open(path) as f:
            report = json.load(f)
        assert report["sampling"]["dropped"] == 0, path
        for name, library, live, peak in truths:
            sites = [s for s in report["sites"] if belongs(s, names.of(s, path), name, library)]
            good[name, library, "live"] += within(sites, "live", live)
            good[name, library, "peak"] += within(sites, "peak", peak)
    bad = 0
    for (name, library, kind), n in good.items():
        print(f"{name} {library} {kind}: {n} of {len(reports)}")
        bad += n * 100 < (90 if len(reports) >= 100 else 70) * len(reports)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
