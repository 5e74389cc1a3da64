#!/bin/bash
# numpy: arrays of many sizes, sorting, linear algebra, FFT, strings, records, files.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need /usr/bin/python3
/usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "no numpy here"
cat >work.py <<'PY'
import hashlib, io
import numpy as np

rng = np.random.default_rng(42)
def show(name, a):
    a = np.ascontiguousarray(a)
    print(name, a.dtype, a.shape, hashlib.sha256(a.tobytes()).hexdigest()[:32])

for n in (1, 3, 17, 1000, 65537, 1000003):
    a = rng.integers(0, 1 << 30, n)
    show("sort", np.sort(a))
    show("unique", np.unique(a % 1000))
    show("cumsum", np.cumsum(a))
m = rng.integers(-9, 9, (300, 300)).astype(np.float64)
show("matmul", m @ m)
print("solve %.6f" % np.abs(np.linalg.solve(m, np.ones(300))).sum())
print("fft %.6f" % np.abs(np.fft.rfft(m, axis=1)).mean())
print("svd %.6f" % np.linalg.svd(m[:80, :80], compute_uv=False)[0])
words = np.array(["w%d" % (i % 977) for i in range(20000)])
show("words", np.char.upper(words))
rec = np.zeros(5000, dtype=[("id", "i4"), ("x", "f8"), ("name", "U12")])
rec["id"] = np.arange(5000)
rec["x"] = rec["id"] * 0.5
rec["name"] = words[:5000]
show("records", np.sort(rec, order=["name", "id"]))
f = io.BytesIO()
np.savez_compressed(f, m=m.astype(np.int16), r=rec)
f.seek(0)
show("file", np.load(f)["r"])
objects = np.array([{"k": i} for i in range(3000)], dtype=object)
print("objects", sum(o["k"] for o in objects[rng.permutation(3000)]))
parts = [np.full((i % 50 + 1, 100), i, dtype=np.int32) for i in range(400)]
show("concatenate", np.concatenate(parts))
PY
same_output -e arrays env PYTHONMALLOC=malloc /usr/bin/python3 work.py
finish
