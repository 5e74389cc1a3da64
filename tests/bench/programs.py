"""Real programs of Debian on generated input: what each reads, and how it is started.

Every program prints something that depends on all of its work and on nothing else, so that its output has
to be the same under every allocator.
"""

import os
import random
import shutil
import subprocess

from allocators import clean_env

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

NUMPY = """
import numpy as np
g = np.random.default_rng(1)
total = 0.0
for i in range(%d):
    n = int(g.integers(100, 40000))
    a, b = g.random(n), g.random(n)
    c = np.where(a > b, np.sqrt(a * a + b * b), np.abs(a - b)) * 2 - a / (1 + b)
    rows = np.stack([a, b, c])[:, np.argsort(c)]
    total += float(np.round((rows - rows.mean(axis=1, keepdims=True)).std(), 9))
    small = [np.array([j, i]) for j in range(300)]
    total += float(np.concatenate(small).sum() %% 97)
print("%%.6f" %% total)
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

RUBY = """
Item = Struct.new(:id, :name, :tags)
x = 1
table = Hash.new { |h, k| h[k] = [] }
%d.times do |i|
  x = (x * 1103515245 + 12345) %% 2147483648
  table[x %% 5021] << Item.new(i, "item number #{i} of #{x %% 5021}", [:a, "t#{i %% 17}"])
  table.delete(i %% 5021) if i %% 3 == 0
end
lines = table.sort.map { |k, v| "#{k}: " + v.map { |e| e.name.sub("item", "thing") }.join(",") }
words = lines.join("\\n").split(/[ ,:]+/).tally
puts [table.size, lines.sum(&:size), words.size, words.values.max].join(" ")
"""

LUA = """
local x, n = 1, %d
local function queue()
  local first, last, t = 1, 0, {}
  return { put = function(v) last = last + 1; t[last] = v end,
           get = function() local v = t[first]; t[first] = nil; first = first + 1; return v end,
           size = function() return last - first + 1 end }
end
local q, names, sum = queue(), {}, 0
for i = 1, n do
  x = (x * 1103515245 + 12345) %% 2147483648
  q.put({ id = i, key = "k" .. (x %% 5021), values = { i, x, i + x } })
  if q.size() > 20000 then
    local e = q.get()
    names[e.key] = (names[e.key] or "") .. string.char(97 + e.id %% 26)
    if #names[e.key] > 40 then names[e.key] = nil end
    sum = sum + #e.values
  end
end
local keys = {}
for k in pairs(names) do keys[#keys + 1] = k .. "=" .. names[k] end
table.sort(keys)
local text = table.concat(keys, ";")
print(#keys, #text, sum, select(2, text:gsub("%%w+=", "")))
"""

AWK = """
BEGIN {
    srand(1); x = 1
    for (i = 0; i < %d; i++) {
        x = (x * 16807) %% 2147483647
        line = "word" (x %% 7919) " and word" (x %% 1009) ", then item-" i
        n = split(line, part, /[ ,-]+/)
        for (j = 1; j <= n; j++) { count[part[j]]++; where[part[j]] = substr(where[part[j]] " " i, 1, 60) }
        if (i %% 5 == 0) delete where["word" (x %% 7919)]
    }
    for (w in count) { total += count[w] * length(w); many++ }
    for (w in where) bytes += length(where[w])
    print many, total, bytes
}
"""

BASH = """
declare -A count text
x=1
for ((i = 0; i < %d; i++)); do
    x=$(((x * 1103515245 + 12345) %% 2147483648))
    key=k$((x %% 997))
    count[$key]=$((${count[$key]:-0} + 1))
    text[$key]="${text[$key]: -40}:$i"
    words=(${text[$key]//:/ })
    joined="${words[*]}"
    joined="${joined//1/one}"
    ((i %% 7 == 0)) && unset "text[$key]"
done
sum=0
for key in "${!text[@]}"; do sum=$((sum + ${#text[$key]} + ${count[$key]})); done
echo "${#count[@]} ${#text[@]} $sum ${#joined}"
"""

NODE = """
let x = 1;
const next = () => (x = Number((BigInt(x) * 1103515245n + 12345n) %% 2147483648n));
const map = new Map();
let bytes = 0;
for (let i = 0; i < %d; i++) {
  const key = "k" + next() %% 5021;
  map.set(key, { id: i, list: [...(map.get(key)?.list ?? []).slice(-8), i], name: key.repeat(3) });
  if (i %% 3 === 0) map.delete("k" + (i %% 5021));
  if (i %% 50 === 0) bytes += Buffer.alloc(2000 + i %% 30000, key).indexOf(key) + new Uint32Array(i %% 900).length;
}
const text = JSON.stringify([...map].sort((a, b) => (a[0] < b[0] ? -1 : 1)));
const back = JSON.parse(text);
console.log(map.size, text.length, bytes, back.reduce((s, e) => s + e[1].list.length, 0));
"""

R = """
set.seed(1)
n <- %d
d <- data.frame(id = seq_len(n), g = sample(sprintf("group %%03d", 0:199), n, TRUE), x = rnorm(n), y = runif(n))
d$s <- paste(d$g, d$id, sep = ":")
parts <- strsplit(d$s, "[ :]")
d$k <- as.integer(vapply(parts, function(p) p[2], ""))
means <- tapply(d$x, d$g, mean)
m <- merge(aggregate(y ~ g, d, sum), data.frame(g = names(means), m = means))
l <- lapply(split(d, d$k %%%% 50), function(e) coef(lm(y ~ x, e)))
o <- do.call(rbind, l)
cat(sprintf("%%.8f %%.8f %%d %%.8f\\n", sum(m$y), sum(m$m), nrow(m), sum(o[, 1])))
"""

JQ = ('[.[] | select(.id % 3 != 0) | {g: .group, n: (.name | ascii_upcase), s: (.values | add), t: (.tags | '
      'join("+"))}] | group_by(.g) | map({g: .[0].g, n: length, sum: (map(.s) | add), names: (map(.n | '
      'length) | add), last: (map(.t) | sort | last)})')

XSLT = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output method="xml" indent="no"/>
<xsl:key name="by" match="item" use="@group"/>
<xsl:template match="/"><table><xsl:for-each select="//item[generate-id() = generate-id(key('by', @group)[1])]">
<xsl:sort select="@group" data-type="number"/><row group="{@group}" n="{count(key('by', @group))}"
 sum="{sum(key('by', @group)/price)}"><xsl:apply-templates select="key('by', @group)"><xsl:sort select="name"/>
</xsl:apply-templates></row></xsl:for-each></table></xsl:template>
<xsl:template match="item"><cell><xsl:value-of select="concat(translate(name, 'abc', 'ABC'), ' ', substring(text,
 1, 12))"/><xsl:if test="price &gt; 500"><dear of="{normalize-space(text)}"/></xsl:if></cell></xsl:template>
</xsl:stylesheet>
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

POSTSCRIPT = """%%!PS
/Times-Roman findfont 9 scalefont setfont
/seed 1 def
/next { /seed seed 1664525 mul cvi 16#3fffff and 12345 add def seed } bind def
/words 400 dict def
1 1 %d {
    /page exch def
    0 1 60 {
        /line exch def
        /key page line mul 20 string cvs dup length string copy cvn def
        words key known not { words length 390 lt { words key [ page line ] put } if } if
        50 780 line 12 mul sub moveto
        (page ) show page 10 string cvs show (, line ) show line 10 string cvs show
        ( with words of some length: ) show seed 20 string cvs show
        next pop
        gsave 0.3 setlinewidth newpath 350 780 line 12 mul sub moveto
        0 1 12 { dup 12 mul 350 add exch line add page mul 17 mod 780 line 12 mul sub add lineto } for
        stroke grestore
    } for
    showpage
} for
"""

REDIS = """#!/bin/bash
# session COMMANDS REQUESTS - one life of a server over a socket; prints what it held.
commands=$1 requests=$2 dir=$(mktemp -d -p .)
ln -s "$(command -v redis-server || command -v redis-check-rdb)" "$dir/redis-server"
"$dir/redis-server" --port 0 --unixsocket "$PWD/$dir/s" --dir "$dir" --save '' --enable-debug-command yes \\
    --activedefrag no >"$dir/log" 2>&1 &
server=$!
for _ in {1..200}; do
    [ -S "$dir/s" ] && break
    kill -0 "$server" || exit 1
    sleep 0.02
done
say() { redis-cli -s "$dir/s" "$@"; }
redis-cli -s "$dir/s" --pipe <"$commands" | tail -n 1
say dbsize
say debug digest
redis-benchmark -s "$dir/s" -q -n "$requests" -c 20 -P 16 -d 200 \\
    -t set,get,incr,lpush,rpop,sadd,hset,lrange_100 >"$dir/bench" 2>&1 || cat "$dir/bench"
say llen mylist
say shutdown nosave
wait "$server"
rm -rf "$dir"
"""

GLPK = """
set I := 1..%d; set J := 1..%d;
param s{i in I} := 20 + (i * 37) mod 29; param c{i in I, j in J} := 10 + (i * 53 + j * 31) mod 97;
param d{j in J} := floor(0.8 * (sum{i in I} s[i]) / card(J)) - (j * 7) mod 3;
var x{i in I, j in J} >= 0; var open{i in I} binary;
minimize cost: sum{i in I, j in J} c[i, j] * x[i, j] + sum{i in I} 5 * open[i];
s.t. from{i in I}: sum{j in J} x[i, j] <= s[i] * open[i];
s.t. to{j in J}: sum{i in I} x[i, j] = d[j];
solve;
printf "cost %%.4f, open %%d\\n", cost, sum{i in I} open[i];
end;
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


def json_document(n):
    items = ",\n".join(f'{{"id": {i}, "group": "g{i * 7919 % 89}", "name": "name number {i}", "values": '
                       f'[{i}, {i * 3 % 101}, {i / 8}], "tags": ["t{i % 7}", "t{i % 11}"]}}'
                       for i in range(n))
    return f"[{items}]\n"


def xml_document(n):
    items = "\n".join(f'<item group="{i * 7919 % 97}"><name>bcd{i * 31 % 1009}</name><price>{i % 997}</price>'
                      f"<text>  some text of   item {i}, with entities &amp; spaces </text></item>"
                      for i in range(n))
    return f"<items>\n{items}\n</items>\n"


def redis_commands(n):
    out = []
    for i in range(n):
        out += [f"SET s:{i} {'v' * (1 + i * 37 % 900)}", f"HSET h:{i % 400} f{i % 90} value-{i}",
                f"RPUSH l:{i % 50} {i}", f"ZADD z:{i % 20} {i * 7 % 1000} m{i // 3}", f"APPEND s:{i} tail{i}"]
        if i % 4 == 0:
            out.append(f"DEL s:{i // 2}")
    return "\n".join(out) + "\n"


def smt_problem(n):
    """Factors of numbers as bit vectors, with a function of them and linear arithmetic."""
    lines = ["(declare-fun f ((_ BitVec 22)) Int)"]
    for k in range(n):
        a, b = f"a{k}", f"b{k}"
        product = (1009 + 2 * k) * (883 + 6 * k)
        lines += [f"(declare-const {v} (_ BitVec 22))" for v in (a, b)]
        lines += [f"(assert (= (bvmul {a} {b}) (_ bv{product} 22)))",
                  f"(assert (and (bvult (_ bv1 22) {a}) (bvult {a} (_ bv2048 22)) (bvult (_ bv1 22) {b}) "
                  f"(bvult {b} (_ bv2048 22))))", f"(assert (< (+ (f {a}) {k}) (f {b})))",
                  "(check-sat)", f"(push)(assert (= (f {a}) (+ 1 (f {b}))))(check-sat)(pop)"]
    return "\n".join(lines) + "\n"


def sat_problem(variables, clauses):
    seeded = random.Random(5)
    lines = [f"p cnf {variables} {clauses}"]
    for _ in range(clauses):
        lines.append(" ".join(str(v * seeded.choice((1, -1)))
                              for v in seeded.sample(range(1, variables + 1), 3)) + " 0")
    return "\n".join(lines) + "\n"


def program_rows(make_row, work, quick):
    """make_row(name, command, seconds, prepare) for each program that is here; returns lines about the
    others."""
    missing = []
    n = 1 if quick else 5

    def add(name, command, seconds, **files):
        """FILE in the command is the first of `files`, which are made before the first run."""
        paths = {k: os.path.join(work, f"{name}.{k}") for k in files}

        def prepare():
            for kind, text in files.items():
                with open(paths[kind], "w", encoding="utf-8") as f:
                    f.write(text)

        for program in command[0].split():
            if not shutil.which(program, path="/usr/bin:/bin"):
                missing.append(f"{name}: no {program} here")
                return
        words = [w.replace("OUT", os.path.join(work, name + ".out")) for w in command[1:]]
        for kind, path in paths.items():
            words = [w.replace(f"FILE.{kind}", path) for w in words]
        make_row(name, words, seconds, prepare)

    # The first word names what has to be here.
    add("python3-json", ["python3", "PYTHONMALLOC=malloc", "PYTHONHASHSEED=0", "/usr/bin/python3", "-s", "FILE.py"], 0.13 * n,
        py=PYTHON % (n * 9000))
    if os.path.exists("/usr/lib/python3/dist-packages/numpy/__init__.py"):
        add("python3-numpy", ["python3", "OPENBLAS_NUM_THREADS=1", "/usr/bin/python3", "-s", "FILE.py"],
            0.2 + 0.1 * n, py=NUMPY % (n * 30))
    else:
        missing.append("python3-numpy: no python3-numpy here")
    add("perl-hashes", ["perl", "PERL_HASH_SEED=0", "perl", "FILE.pl"], 0.2 * n, pl=PERL % (n * 50000))
    add("ruby-objects", ["ruby", "ruby", "--disable-gems", "FILE.rb"], 0.1 * n, rb=RUBY % (n * 30000))
    add("lua-tables", ["lua5.4", "lua5.4", "FILE.lua"], 0.1 * n, lua=LUA % (n * 60000))
    add("gawk-words", ["gawk", "gawk", "-f", "FILE.awk"], 0.1 * n, awk=AWK % (n * 15000))
    add("bash-strings", ["bash", "bash", "FILE.sh"], 0.1 * n, sh=BASH % (n * 4000))
    add("node-json", ["node", "node", "FILE.js"], 0.1 + 0.08 * n, js=NODE % (n * 20000))
    add("r-frames", ["R", "R", "--vanilla", "--no-echo", "-f", "FILE.R"], 0.25 + 0.1 * n, R=R % (n * 5000))
    add("jq-query", ["jq", "jq", "-c", JQ, "FILE.json"], 0.1 * n, json=json_document(n * 4000))
    add("xsltproc-table", ["xsltproc", "xsltproc", "FILE.xsl", "FILE.xml"], 0.08 * n, xsl=XSLT,
        xml=xml_document(n * 6000))
    add("gcc-O2", ["gcc", "gcc", "-O2", "-S", "-o", "-", "FILE.c"], 0.16 * n, c=c_source(n * 12))
    add("g++-O0", ["g++", "g++", "-std=c++17", "-O0", "-S", "-o", "-", "FILE.cc"], 0.4 if quick else 1.3,
        cc=CXX.replace("#include <regex>\n", "").replace("    std::regex", "    // ").replace(
            "    std::smatch", "    // ").replace("    if (std::regex", "    // ") if quick else CXX)
    add("sqlite3-memory", ["sqlite3", "sqlite3", ":memory:", ".read FILE.sql"], 0.06 * n, sql=SQL % (n * 25000))
    repository = os.path.join(work, "repository")
    if shutil.which("git", path="/usr/bin:/bin"):
        make_row("git-log", ["git", "-C", repository, "--no-pager", "log", "-p", "-M", "--stat"], 0.04 * n,
                 lambda: git_repository(repository, n * 120))
    else:
        missing.append("git-log: no git here")
    add("redis", ["bash redis-benchmark redis-cli", "bash", "FILE.sh", "FILE.commands", str(n * 4000)], 0.3 * n,
        sh=REDIS, commands=redis_commands(n * 3000))
    add("gs-pdf", ["gs sh", "sh", "-c", "gs -q -dNOPAUSE -dBATCH -sDEVICE=pdfwrite -o OUT FILE.ps && "
                   "gs -q -dNOPAUSE -dBATCH -sDEVICE=pgmraw -r50 -o - OUT"], 0.2 + 0.1 * n, ps=POSTSCRIPT % (n * 4))
    add("z3-smt", ["z3", "z3", "FILE.smt2"], 0.1 * n, smt2=smt_problem(n))
    add("glpsol-mip", ["glpsol sh", "sh", "-c", "glpsol --math FILE.mod --mipgap 0.01 --write OUT >/dev/null && cat OUT"], 0.1 * n,
        mod=GLPK % ((40, 30) if quick else (110, 70)))
    add("minisat-sat", ["minisat sh", "sh", "-c", "minisat -verb=0 FILE.cnf OUT >/dev/null; cat OUT"], 0.1 * n,
        cnf=sat_problem(*((180, 770) if quick else (215, 920))))
    return missing
