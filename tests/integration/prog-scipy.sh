#!/bin/bash
# scipy: sparse matrices, a k-d tree, interpolation, optimisation, integration, images, signals.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need /usr/bin/python3
/usr/bin/python3 -c 'import scipy.sparse' 2>/dev/null || skip "no scipy here"
cat >work.py <<'PY'
import hashlib
import numpy as np
from scipy import integrate, interpolate, ndimage, optimize, signal, sparse, spatial
from scipy.sparse import csgraph, linalg

rng = np.random.default_rng(7)
n = 4000
a = sparse.diags([4.0, -1.0, -1.0, -1.0, -1.0], [0, 1, -1, 60, -60], shape=(n, n), format="csc")
b = np.arange(n) % 13 - 6.0
x = linalg.splu(a).solve(b)
print("splu %.9f %.3e" % (x.sum(), 0 if np.abs(a @ x - b).max() < 1e-9 else 1))
g = sparse.random(1500, 1500, density=0.004, random_state=3, format="csr")
print("components", csgraph.connected_components(g)[0])
d = csgraph.dijkstra(g, indices=[0, 5])
print("dijkstra %.9f" % d[np.isfinite(d)].sum())
points = rng.random((20000, 3))
tree = spatial.cKDTree(points)
dist, index = tree.query(points[:2000] + 0.001, k=4)
print("tree %.9f" % dist.sum(), hashlib.sha256(index.astype("i8").tobytes()).hexdigest()[:24])
print("hull", len(spatial.ConvexHull(points).simplices))
s = interpolate.CubicSpline(np.arange(200.0), rng.random(200))
print("spline %.9f" % s(np.linspace(0, 199, 5000)).sum())
print("quad %.9f" % integrate.quad(lambda t: np.exp(-t * t), 0, 3)[0])
r = optimize.minimize(optimize.rosen, [1.3, 0.7, 0.8, 1.9, 1.2], method="BFGS")
print("minimize", np.round(r.x, 4).tolist())
image = rng.random((300, 300))
labels, count = ndimage.label(ndimage.gaussian_filter(image, 2) > 0.5)
print("label", count, hashlib.sha256(labels.astype("i4").tobytes()).hexdigest()[:24])
print("filter %.9f" % signal.lfilter([0.1, 0.2], [1, -0.5], rng.random(50000)).sum())
PY
same_output -e sparse env PYTHONMALLOC=malloc /usr/bin/python3 work.py
finish
