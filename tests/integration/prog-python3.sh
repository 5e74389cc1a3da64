#!/bin/bash
# python3: dicts, JSON, regular expressions, threads, bytes; its own pools off and on.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need /usr/bin/python3
cat >work.py <<'PY'
import collections, gc, hashlib, itertools, json, re, sys, threading, zlib

def rows(seed, n):
    x = seed
    for i in range(n):
        x = x * 48271 % 2147483647
        yield {"id": i, "name": f"row {x % 1000}", "values": [x % 7, x % 11, x / 3], "odd": bool(x % 2)}

def work(seed):
    text = json.dumps(list(rows(seed, 6000)), sort_keys=True)
    back = json.loads(text)
    names = collections.Counter(r["name"] for r in back)
    words = re.findall(r'"name": "(row \d*7)"', text)
    tree = {}
    for r in back:
        tree.setdefault(r["values"][0], {}).setdefault(r["values"][1], []).append(r["id"])
    joined = "".join(f"{k}{v}" for k, v in sorted(names.items()))
    packed = zlib.compress(text.encode(), 6)
    assert zlib.decompress(packed).decode() == text
    return (len(text), len(words), names.most_common(3), len(packed),
            hashlib.sha256(joined.encode()).hexdigest(),
            sum(len(v) for t in tree.values() for v in t.values()))

results = [None] * 4
def run(i):
    results[i] = work(i + 1)
threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
for r in results:
    print(r)
buffers = [bytearray(1 + i * 7919 % 300000) for i in range(300)]
for i, b in enumerate(buffers):
    b[-1] = i % 256
    b.extend(b"x" * (i * 31))
print(sum(map(len, buffers)), hashlib.sha256(b"".join(buffers)).hexdigest())
print(sum(1 for p in itertools.permutations("abcdefgh") if p[0] < p[-1]))
print((3 ** 20000).bit_length(), gc.collect() >= 0)
class Node:
    def __init__(self, up):
        self.up = up
        self.data = {"a": [up], "b": (self,)}
node = None
for i in range(30000):
    node = Node(node if i % 100 else None)
print(len(json.dumps("\u00e9" * 100000)))
print("to stderr", file=sys.stderr)
PY
same_output -e pools-off env PYTHONMALLOC=malloc /usr/bin/python3 work.py
same_output -e pools-on /usr/bin/python3 work.py
finish
