#!/bin/bash
# Numba, which calls the driver through ctypes, on the fake driver: arrays on the device, pinned, mapped and
# managed, streams, deferred frees, threads. It prints what it prints without the library, under every way
# to serve device memory, and what it allocates goes through it.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH
python3 -c 'import numba' 2>/dev/null || skip "no numba for python3"
fakes=$build/tests/cuda/before-13
[ -r "$fakes/libcuda.so.1" ] || skip "the fakes are not built: make tests"
export LD_LIBRARY_PATH=$fakes FAKE_CUDA_VERSION=12080

cat >"$work/work.py" <<'PY'
import threading
import numpy as np
from numba import cuda
print(len(cuda.gpus), cuda.get_current_device().name)
a = np.arange(100000, dtype=np.float64)
def copies(n):
    for i in range(n):
        d = cuda.to_device(a)
        e = cuda.device_array((1000 + 7 * i, 3), np.float32)
        assert (d.copy_to_host() == a).all()
        e.copy_to_device(np.full(e.shape, i, np.float32))
        assert (e.copy_to_host() == i).all()
copies(40)
threads = [threading.Thread(target=copies, args=(20,)) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
streams = [cuda.stream() for _ in range(3)]
with cuda.pinned(a):
    for i, s in enumerate(streams * 5):
        d = cuda.to_device(a + i, stream=s)
        out = d.copy_to_host(stream=s)
        s.synchronize()
        assert (out == a + i).all()
p, m, g = cuda.pinned_array(1000, np.float32), cuda.mapped_array(1000, np.float32), cuda.managed_array(1000, np.float32)
p[:] = 1; g[:] = 2
print(p.sum(), g.sum(), m.shape)
with cuda.defer_cleanup():
    del p, m, g
    x = [cuda.device_array(4096, np.uint8) for _ in range(10)]
    del x
event = cuda.event(); event.record(streams[0]); event.synchronize()
print(cuda.current_context().get_memory_info().total, event.query())
PY

python3 "$work/work.py" >"$work/without" 2>"$work/err" || { tail -n 3 "$work/err"; skip "numba does not run on the fake driver"; }
for backend in caching pool bfc direct managed; do
    for how in XSIGMA_GPU_FREE=strict XSIGMA_GPU_FREE=deferred XSIGMA_GPU_CACHE_MAX=2M XSIGMA_PRESET=monte-carlo; do
        rm -f "$work/report.json"
        env LD_PRELOAD="$lib" XSIGMA_GPU_BACKEND=$backend $how XSIGMA_STATS_FILE="$work/report.json" \
            python3 "$work/work.py" >"$work/with" 2>"$work/err" || fail "$backend, $how: $(tail -n 1 "$work/err")"
        cmp -s "$work/without" "$work/with" || { fail "$backend, $how:"; diff "$work/without" "$work/with" | head; }
        grep -a violation "$work/err" && fail "$backend, $how: memory was used again too early"
        n=$(json_get "$work/report.json" 'gpu[0].allocations')
        [ "${n:-0}" -ge 250 ] || fail "$backend, $how: ${n:-no} allocations"
    done
    echo "$backend: $n allocations, $(json_get "$work/report.json" 'gpu[0].hits') hits"
done
finish
