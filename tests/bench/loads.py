"""The rows of the tables: what each runs, how long, and how a run is measured."""

import hashlib
import os
import random
import shutil
import signal
import subprocess

from allocators import clean_env, output_of


class Row:
    """`seconds` is a first guess of a run's time, `most` the repetitions that are worth it;
    `prepare` makes the input."""

    def __init__(self, name, section, command, seconds, most=99, prepare=None):
        self.name = name
        self.section = section  # micro, threads, memory or programs
        self.command = command
        self.seconds = seconds
        self.most = most
        self.prepare = prepare or (lambda: None)
        self.output = None  # of the first run; every other has to be the same


class Failed(Exception):
    """A run that has no result; says why."""


def own_rows(programs, quick, threads):
    micro = os.path.join(programs, "micro")
    loads = os.path.join(programs, "threads")
    micro_scale, scale, fill = (0.2, 0.1, 0.125) if quick else (1, 1, 1)
    rows = [Row(name, "micro", [micro, name, str(micro_scale)], 0.02 + 0.16 * micro_scale)
            for name in output_of([micro, "--list"]).split()]
    for name in output_of([loads, "--list"]).split():
        if name.startswith("fill"):
            # What is resident hardly varies, and these are long.
            rows.append(Row(name, "memory", [loads, name, str(fill), "1"], 4 * fill,
                            1 if quick else 2))
        else:
            rows.append(Row(name, "threads", [loads, name, str(scale), str(threads)], 0.5 * scale))
    return rows


PYTHON = """
import json
d = {}
for i in range(%d):
    d["key%%d" %% (i * 7919 %% 100003)] = {"id": i, "tags": ["t%%d" %% (i %% 13), str(i)], "x": i / 7}
text = json.dumps(d, sort_keys=True)
back = json.loads(text)
for k in list(back)[::2]:
    del back[k]
words = {}
for w in text.split('"'):
    words[w] = words.get(w, 0) + 1
print(len(text), len(back), len(words), sum(v["id"] for v in back.values()))
"""

PERL = """
use strict;
my (%%count, %%of);
my $x = 1;
for my $i (1 .. %d) {
    $x = ($x * 1103515245 + 12345) %% 2147483648;
    my $key = "k" . ($x %% 50021);
    $count{$key}++;
    push @{$of{$key}}, "value $i of $key";
    delete $of{"k" . ($i %% 50021)} if $i %% 3 == 0;
}
my $text = join ",", map { "$_=$count{$_}" } sort keys %%count;
my $sum = 0;
$sum += $2 * length $1 while $text =~ /(\\w+)=(\\d+)/g;
print scalar(keys %%of), " ", length($text), " $sum\\n";
"""

SQL = """
create table t(id integer primary key, name text, grp integer, amount real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < %d)
insert into t select i, 'name ' || (i * 7919 %% 100003), i %% 97, i * 0.25 from n;
create index t_name on t(name);
select grp, count(*), sum(amount), group_concat(substr(name, 6, 3)) from t
  where id %% 11 = 0 group by grp order by 2 desc, 1 limit 5;
select count(*) from t a join t b on a.name = b.name and a.grp <> b.grp;
update t set name = name || ' changed' where grp < 20;
delete from t where grp > 70;
select count(*), max(length(name)), total(amount) from t;
"""

CXX = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
struct Node { std::map<std::string, std::vector<std::unique_ptr<Node>>> children; int value = 0; };
int walk(const Node &n) {
    int sum = n.value;
    for (const auto &[name, nodes] : n.children)
        for (const auto &c : nodes) sum += walk(*c) + static_cast<int>(name.size());
    return sum;
}
int main() {
    Node root;
    std::unordered_map<std::string, std::function<int(int)>> f{{"a", [](int x) { return x + 1; }}};
    std::regex words("([a-z]+)=([0-9]+)");
    std::smatch m;
    std::string line = "a=12";
    if (std::regex_match(line, m, words)) root.value = f[m[1]](std::stoi(m[2]));
    std::vector<std::string> v{"x", "y"};
    std::sort(v.begin(), v.end(), std::greater<>());
    for (const auto &s : v) root.children[s].push_back(std::make_unique<Node>());
    std::cout << walk(root) << '\\n';
}
"""


def c_source(functions):
    parts = ["struct item { int kind, n; double x[8]; struct item *next; };\n"]
    for f in range(functions):
        cases = "".join(f"        case {k}: s += p->x[{k % 8}] * {f + k}; p->n ^= {k * f % 251};"
                        " break;\n" for k in range(10))
        parts.append(f"static double work{f}(struct item *p, int n)\n{{\n    double s = {f};\n"
                     f"    for (int i = 0; i < n && p; i++, p = p->next) {{\n"
                     f"        switch ((p->kind + i * {f % 17 + 1}) % 12) {{\n{cases}"
                     f"        default: for (int j = 0; j < 8; j++) s -= p->x[j] / (j + {f + 1});\n"
                     f"        }}\n    }}\n    return s;\n}}\n")
    calls = "".join(f"    s += work{f}(p, n + {f});\n" for f in range(functions))
    parts.append(f"double all(struct item *p, int n)\n{{\n    double s = 0;\n{calls}"
                 "    return s;\n}\n")
    return "".join(parts)


def git_repository(path, commits):
    """A history of small changes to 30 files; the same on every machine."""
    seeded = random.Random(1)
    files = [[f"line {i} of file {n}" for i in range(200)] for n in range(30)]
    stream = []
    for c in range(commits):
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> {1700000000 + c} +0000\n"
                      f"data 12\ncommit {c:05d}")
        for n in (range(30) if c == 0 else seeded.sample(range(30), 3)):
            for _ in range(4):
                files[n][seeded.randrange(200)] = f"changed by {c}: {seeded.random()}"
            text = "\n".join(files[n]) + "\n"
            stream.append(f"M 100644 inline dir{n % 5}/file{n}.txt\ndata {len(text)}\n{text}")
        stream.append("")
    env = clean_env(os.path.dirname(path))
    subprocess.run(["git", "init", "-q", "-b", "main", path], env=env, check=True)
    subprocess.run(["git", "-C", path, "fast-import", "--quiet"], env=env, check=True,
                   input="\n".join(stream).encode())


def program_rows(work, quick):
    """Real programs on generated input; returns rows and lines about programs that are not here."""
    rows, missing = [], []
    n = 1 if quick else 5

    def add(name, command, file, text, seconds):
        """`file` with `text` is made before the first run."""
        path = os.path.join(work, file)

        def prepare():
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)

        program = next(w for w in command if "=" not in w)
        if shutil.which(program, path="/usr/bin:/bin"):
            command = [w.replace("FILE", path) for w in command]
            rows.append(Row(name, "programs", command, seconds, prepare=prepare))
        else:
            missing.append(f"{name}: no {program} here")

    add("python3-json", ["PYTHONMALLOC=malloc", "python3", "-I", "FILE"], "json.py",
        PYTHON % (n * 9000), 0.13 * n)
    add("gcc-O2", ["gcc", "-O2", "-S", "-o", "-", "FILE"], "work.c", c_source(n * 12), 0.16 * n)
    if not quick:
        add("g++-O0", ["g++", "-std=c++17", "-O0", "-S", "-o", "-", "FILE"], "work.cc", CXX, 1.3)
    add("perl-hashes", ["perl", "FILE"], "hashes.pl", PERL % (n * 50000), 0.2 * n)
    add("sqlite3-memory", ["sqlite3", ":memory:", ".read FILE"], "work.sql", SQL % (n * 25000),
        0.06 * n)
    if shutil.which("git", path="/usr/bin:/bin"):
        path = os.path.join(work, "repository")
        rows.append(Row("git-log", "programs",
                        ["git", "-C", path, "--no-pager", "log", "-p", "-M", "--stat"], 0.04 * n,
                        prepare=lambda: git_repository(path, n * 120)))
    else:
        missing.append("git-log: no git here")
    return rows, missing


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
    if row.section != "programs":
        result.update(numbers(stdout.decode()))
        result["cpu"] = result.pop("cpu_ns_per_op")
        return result
    digest = hashlib.sha256(stdout).hexdigest()
    if not stdout:
        raise Failed("no output")
    if row.output not in (None, digest):
        raise Failed("the output differs from the first allocator's")
    row.output = digest
    result["cpu"] = (result["user_us"] + result["system_us"]) / 1000
    return result
