#!/bin/bash
# NVIDIA's own driver library and runtime, of every age that can be had here, on a machine that need not
# have a GPU: the driver has the calls that we speak of in the forms and versions that we think, the
# runtime's look-ups get our functions where one is ours, and programs hear what they hear without us.
# XS_CUDA_DRIVERS names a folder with libcuda.so.* and libcudart.so.* below it; else they are fetched.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH
need python3
from=${XS_CUDA_DRIVERS-}
if [ -z "$from" ]; then
    from=$work/fetched
    said=$("$root/scripts/fetch-driver" "$from" 2>&1) || skip "$said"
fi
check=$(program cuda_driver) spy=$(program libcuda_spy) || exit 1
mapfile -t drivers < <(find "$from" -type f -name 'libcuda.so.*' | sort)
mapfile -t runtimes < <(find "$from" /usr/local/cuda/lib64/ -type f -name 'libcudart.so.*' 2>/dev/null | sort)
[ ${#drivers[@]} -gt 0 ] || skip "no driver under $from"

# Every call that a program without a GPU can make, by the runtime and by the driver; what each says.
cat >"$work/calls.py" <<'PY'
import ctypes, sys
from ctypes import byref, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
p, n, a, b = c_void_p(0x77), c_int(-5), c_size_t(), c_size_t()
if sys.argv[1:]:
    rt = ctypes.CDLL(sys.argv[1])
    rt.cudaGetErrorString.restype = ctypes.c_char_p
    for name, *args in (
            ("cudaRuntimeGetVersion", byref(n)), ("cudaDriverGetVersion", byref(n)), ("cudaGetDeviceCount", byref(n)),
            ("cudaMalloc", byref(p), c_size_t(4096)), ("cudaFree", p), ("cudaFree", None),
            ("cudaMallocHost", byref(p), c_size_t(4096)), ("cudaHostAlloc", byref(p), c_size_t(4096), 0),
            ("cudaFreeHost", None), ("cudaMallocManaged", byref(p), c_size_t(4096), 1),
            ("cudaMemGetInfo", byref(a), byref(b)), ("cudaDeviceSynchronize",), ("cudaDeviceReset",)):
        r = getattr(rt, name)(*args)
        print(name, r, rt.cudaGetErrorString(r), n.value, p.value)
if len(sys.argv) > 2:
    sys.exit()
cu = ctypes.CDLL("libcuda.so.1")
for name, *args in (
        ("cuInit", 0), ("cuDriverGetVersion", byref(n)), ("cuDeviceGetCount", byref(n)),
        ("cuMemAlloc_v2", byref(p), c_size_t(4096)), ("cuMemFree_v2", c_ulonglong(4096)),
        ("cuMemHostAlloc", byref(p), c_size_t(4096), 0), ("cuMemFreeHost", None),
        ("cuMemGetInfo_v2", byref(a), byref(b)), ("cuCtxSynchronize",), ("cuNoSuchCall",)):
    try:
        print(name, getattr(cu, name)(*args), n.value, p.value)
    except AttributeError as e:
        print(e)
if hasattr(cu, "cuGetProcAddress"):
    for name in (b"cuMemAlloc", b"cuMemcpyAsync", b"cuNoSuchCall", b""):
        for version in (-1, 0, 1000, 3010, 3020, 12000, 99990):
            for flags in (0, 1, 2, 3, 4):
                f, s = c_void_p(0x77), c_uint(77)
                r = [cu.cuGetProcAddress(name, byref(f), version, c_ulonglong(flags)), f.value in (None, 0x77) and f.value]
                if hasattr(cu, "cuGetProcAddress_v2"):
                    f = c_void_p(0x77)
                    r += [cu.cuGetProcAddress_v2(name, byref(f), version, c_ulonglong(flags), byref(s)),
                          f.value in (None, 0x77) and f.value, s.value]
                print(name, version, flags, r)
PY

# shellcheck source=../support/spied.sh
. "$root/tests/support/spied.sh"
for driver in "${drivers[@]}"; do
    name=${driver##*/}
    mkdir -p "$work/$name"
    ln -sf "$(realpath "$driver")" "$work/$name/libcuda.so.1"
    export LD_LIBRARY_PATH=$work/$name
    if ! python3 -c 'import ctypes; ctypes.CDLL("libcuda.so.1")' 2>"$work/err"; then
        echo "$name: left out: $(tail -n 1 "$work/err")"
        continue
    fi
    out=$("$check" libcuda.so.1) || fail "$name is not as we think: $out"
    echo "$name: ${out##*$'\n'}"
    for runtime in "" "${runtimes[@]}"; do
        what="$name, ${runtime##*/}"
        # shellcheck disable=SC2086 # perhaps nothing
        python3 "$work/calls.py" $runtime >"$work/without" 2>&1 || fail "$what: $(tail -n 1 "$work/without")"
        for setting in XSIGMA_GPU=1 XSIGMA_GPU=0 XSIGMA_GPU_BACKEND=bfc XSIGMA_CPU_BACKEND=system XSIGMA_PRESET=risk; do
            # shellcheck disable=SC2086
            env LD_PRELOAD="$lib" $setting XSIGMA_STATS_FILE="$work/report" python3 "$work/calls.py" $runtime >"$work/with" 2>&1
            diff "$work/without" "$work/with" >"$work/diff" || { fail "$what, $setting:"; head "$work/diff"; }
        done
        [ -n "$runtime" ] || continue
        rm -f "$work/spy"
        LD_PRELOAD=$spy:$lib SPY_ON=$lib SPY_LOG=$work/spy XSIGMA_STATS=0 python3 "$work/calls.py" "$runtime" alone >/dev/null 2>&1
        [ -s "$work/spy" ] || { echo "$what: the runtime asks nothing of this driver"; continue; }
        check_spied "$what"
    done
done
finish
