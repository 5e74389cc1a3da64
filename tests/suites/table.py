"""The table of results, docs/test-suites.md, and the reasons of failures.

The figures of all suites are kept beside the text, in docs/test-suites.json, so that a run of some
of them changes only theirs.
"""

import fcntl
import fnmatch
import json
import os

HEAD = """# Other people's test suites

Written by `make test-suites`, which gets, builds and runs them: each test once without the library and once under each
back end with `LD_PRELOAD` (`SUITES="python3 redis"` and `BACKENDS=bfc` choose; `ARGS=--resume` goes on where the last
run was stopped). A cell is the number of tests run, then of those that fail with the library and not without it; a
test that failed with it once and passed three times when repeated counts as unsteady, and one that fails with the back
end's library preloaded in our place as that library's. All of these, and what fails without the library, are named with
reasons below. Debian 12 has no LTP, neither package nor source, and its sources of Lua 5.3 and 5.4 come without Lua's
tests.

"""


class Reasons:
    """Lines "suite test-glob: reason"; '#' starts a comment."""

    def __init__(self, path):
        self.rows = []
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.split("#", 1)[0].strip() if line.startswith("#") else line.strip()
                if line:
                    where, reason = line.split(": ", 1)
                    suite, test = where.split(" ", 1)
                    self.rows.append((suite, test, reason))

    def of(self, suite, test):
        for s, t, reason in self.rows:
            if s == suite and fnmatch.fnmatchcase(test, t):
                return reason
        return None


def problems(row, reasons):
    """What of a suite's results nobody has explained. A failure with the library cannot be."""
    if "missing" in row:
        return []
    name = row["suite"]
    bad = [f"{name} {t}: fails without the library, for no reason that is written down"
           for t in row["without"] if not reasons.of(name, t)]
    for backend, r in row["backends"].items():
        bad += [f"{name} {t}: fails under {backend}, not without the library" for t in r["only"]]
        bad += [f"{name} {t}: fails under {backend} and with its library alone, for no reason that "
                "is written down" for t in r["theirs"] if not reasons.of(name, t)]
        bad += [f"{name} {t}: failed once under {backend}, for no reason that is written down"
                for t in r["unsteady"] if not reasons.of(name, t)]
    return bad


def cell(r):
    if r is None:
        return "not run"
    text = f"{r['run']}, {len(r['only'])}"
    if r["theirs"]:
        text += f" ({len(r['theirs'])} by its library)"
    return text + (f" ({len(r['unsteady'])} unsteady)" if r["unsteady"] else "")


def markdown(rows, backends, reasons):
    out = [HEAD, "| suite | version | a test is | without us: run, fail | " +
           " | ".join(f"{b}: run, fail" for b in backends) + " | run on |\n",
           "| --- " * (5 + len(backends)) + "|\n"]
    for r in rows:
        if "missing" in r:
            out.append(f"| {r['suite']} | | not run: {r['missing']} |" + " |" *
                       (2 + len(backends)) + "\n")
            continue
        cells = " | ".join(cell(r["backends"].get(b)) for b in backends)
        out.append(f"| {r['suite']} | {r['version']} | {r['what']} | {r['run']}, "
                   f"{len(r['without'])} | {cells} | {r['date']} |\n")
    named = []
    for r in rows:
        if "missing" in r:
            continue
        for t in r["without"]:
            named.append(f"- {r['suite']}, `{t}`, without the library: "
                         f"{reasons.of(r['suite'], t) or 'not explained'}\n")
        for b in backends:
            for t in r["backends"].get(b, {}).get("only", []):
                named.append(f"- {r['suite']}, `{t}`, only under {b}: not explained\n")
            for t in r["backends"].get(b, {}).get("theirs", []):
                named.append(f"- {r['suite']}, `{t}`, under {b}, and with its library preloaded in "
                             f"our place: {reasons.of(r['suite'], t) or 'not explained'}\n")
            for t in r["backends"].get(b, {}).get("unsteady", []):
                named.append(f"- {r['suite']}, `{t}`, once under {b}: "
                             f"{reasons.of(r['suite'], t) or 'not explained'}\n")
    if named:
        out += ["\n## Failures\n\n"] + named
    left = [f"- {r['suite']}: {line}\n" for r in rows for line in r.get("left", [])]
    if left:
        out += ["\n## Left out\n\n"] + left
    return "".join(out)


def update(root, row, known, backends, reasons):
    """Changes one row; several runs may do so at once."""
    with open(os.path.join(root, "build", "suites", "table.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        update_alone(root, row, known, backends, reasons)


def update_alone(root, row, known, backends, reasons):
    path = os.path.join(root, "docs", "test-suites.json")
    rows = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            rows = {r["suite"]: r for r in json.load(f)}
    old = rows.get(row["suite"], {})
    if "missing" in row and "version" in old:
        return  # figures of a machine that had it are worth more than a gap
    if "missing" not in row and old.get("version") == row["version"]:
        row["backends"] = {**old["backends"], **row["backends"]}
    rows[row["suite"]] = row
    kept = [rows[s] for s in sorted(rows) if s in known]
    with open(path, "w", encoding="utf-8") as f:
        json.dump(kept, f, indent=1, sort_keys=True)
        f.write("\n")
    with open(os.path.join(root, "docs", "test-suites.md"), "w", encoding="utf-8") as f:
        f.write(markdown(kept, backends, reasons))
