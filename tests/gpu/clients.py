#!/usr/bin/env python3
"""tests/gpu/clients.py torch|cupy|jax|numba - a small, deterministic load of a real client.

Prints "hash X" of its results, "ms X" of its main loop, and where the client has a call for it
"pair_ns X", an allocation and its free. Which allocator it uses is decided by the environment, as
scripts/gpu-check sets it. Status 77: the client is not installed, or finds no device.
"""
import hashlib
import os
import statistics
import sys
import time


def missing(why):
    print(f"skip: {why}")
    sys.exit(77)


def report(arrays, begun, **more):
    h = hashlib.sha256()
    for a in arrays:
        h.update(a.tobytes())
    print("hash", h.hexdigest())
    print(f"ms {(time.perf_counter() - begun) * 1e3:.1f}")
    for name, value in more.items():
        print(name, value)


def pair_ns(make, n=20000):
    for _ in range(100):
        make()
    begun = time.perf_counter_ns()
    for _ in range(n):
        make()
    return f"{(time.perf_counter_ns() - begun) / n:.0f}"


def torch_load():
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        import torch
    except ImportError as e:
        missing(e)
    if not torch.cuda.is_available():
        missing("torch finds no device")
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cuda:0")
    model = torch.nn.Sequential(
        torch.nn.Linear(256, 1024), torch.nn.GELU(), torch.nn.LayerNorm(1024),
        torch.nn.Linear(1024, 1024), torch.nn.GELU(), torch.nn.Linear(1024, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    side = torch.cuda.Stream()
    data = [(torch.randn(n, 256, generator=generator), torch.randint(10, (n,), generator=generator))
            for n in (64, 96, 128, 200)]
    steps = 400

    def step(i):
        x, y = data[i % len(data)]
        x = x.to(device, non_blocking=True)
        y = y.to(device, non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if i % 10 == 0:  # something on a second stream, in order
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                z = (x @ x.t()).relu().sum()
            torch.cuda.current_stream().wait_stream(side)
            return z
        return loss

    for i in range(20):
        step(i)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    losses, rounds = [], []
    for first in range(0, steps, 40):
        round_begun = time.perf_counter()
        losses += [float(step(i)) for i in range(first, first + 40)]
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - round_begun) / 40)
    import numpy
    results = [p.detach().cpu().numpy() for p in model.parameters()]
    report(results + [numpy.array(losses)], begun, us_per_step=f"{statistics.median(rounds) * 1e6:.1f}",
           pair_ns=pair_ns(lambda: torch.empty(1 << 20, dtype=torch.uint8, device=device)))


def cupy_load():
    try:
        import cupy
    except ImportError as e:
        missing(e)
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as e:
        missing(e)
    if os.environ.get("XS_CLIENT_POOL") != "1":
        cupy.cuda.set_allocator(None)
        cupy.cuda.set_pinned_memory_allocator(None)
    x = cupy.arange(1 << 18, dtype=cupy.float64)
    begun = time.perf_counter()
    results = []
    for i in range(300):
        n = 1000 + 700 * (i % 37)
        y = cupy.sort(cupy.sin(x[:n] * (i + 1)))
        results.append(cupy.asnumpy(cupy.cumsum(y)[-5:]))
    report(results, begun, pair_ns=pair_ns(lambda: cupy.empty(1 << 20, dtype=cupy.uint8)))


def jax_load():
    try:
        import jax
    except ImportError as e:
        missing(e)
    try:
        device = jax.devices("gpu")[0]
    except RuntimeError as e:
        missing(e)
    import jax.numpy as jnp
    import numpy

    @jax.jit
    def step(w, x):
        h = jnp.tanh(x @ w)
        return w - 1e-3 * (x.T @ (h - x.mean()))

    key = jax.random.PRNGKey(0)
    w = jax.device_put(jax.random.normal(key, (512, 512)), device)
    begun = time.perf_counter()
    for i in range(200):
        x = jax.random.normal(jax.random.fold_in(key, i), (64 + 32 * (i % 4), 512))
        w = step(w, x)
    report([numpy.asarray(w)], begun)


def numba_load():
    try:
        from numba import cuda
    except ImportError as e:
        missing(e)
    if not cuda.is_available():
        missing("numba finds no device")
    import numpy

    @cuda.jit
    def scale(a, f):
        i = cuda.grid(1)
        if i < a.size:
            a[i] = a[i] * f + i

    begun = time.perf_counter()
    results = []
    for i in range(300):
        n = 1000 + 900 * (i % 29)
        a = cuda.to_device(numpy.arange(n, dtype=numpy.float64))
        scale[(n + 127) // 128, 128](a, 1.0 + i)
        results.append(a.copy_to_host())
    report(results, begun, pair_ns=pair_ns(lambda: cuda.device_array(1 << 20, numpy.uint8), 2000))


LOADS = {"torch": torch_load, "cupy": cupy_load, "jax": jax_load, "numba": numba_load}
if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LOADS:
        print(__doc__)
        sys.exit(2)
    LOADS[sys.argv[1]]()
