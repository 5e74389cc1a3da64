#!/bin/bash
# Every variable of device memory has the effect that is said of it, seen in the report of an
# unmodified program; and a wrong value of each gives one line. XSIGMA_GPU_BACKEND, _FREE, _ROUTE:
# gpu-report; _LOW_FREE: gpu-gives-way; _PREFETCH: gpu-api.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda bench=$xs_build/tests/bench
[ -x "$fakes/client-static" ] && [ -x "$bench/gpu_traces" ] || skip "the fakes are not built: make tests"
[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3
export LD_LIBRARY_PATH=$fakes XSIGMA_RECORD=off FAKE_CUDA_AUTO=1

blocks=("$fakes/client-static" 40) # of 4 KiB, all at once
pair=("$bench/gpu_pair" driver 20)
trace() { # NAME ITERATIONS
    load=("$bench/gpu_traces" --trace "$1" --iterations "$2")
}
run() { # VARIABLE=VALUE...: the command is $load
    xs_runs=$((xs_runs + 1))
    what="$* ${load[*]##*/}"
    rm -f "$xs_tmp/report.json"
    env LD_PRELOAD="$XS_LIB" XSIGMA_STATS_FILE="$xs_tmp/report.json" "$@" "${load[@]}" >out 2>err ||
        fail "$what: $(cat out err)"
    [ ! -s err ] || fail "$what: on stderr: $(cat err)"
}
get() { # FIELD: of the first device
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["gpu"][0][sys.argv[2]])' "$xs_tmp/report.json" "$1"
}
is() { # FIELD NUMBER
    local n
    n=$(get "$1")
    [ "$n" = "$2" ] || fail "$what: $1 is $n, not $2"
}
of() { # FIELD VARIABLE=VALUE...: sets $n
    run "${@:2}"
    n=$(get "$1")
}
more() { # FIELD VARIABLES... -- VARIABLES...: it is more by the latter
    local field=$1 first=() less
    shift
    while [ "$1" != -- ]; do
        first+=("$1")
        shift
    done
    of "$field" "${first[@]}"
    less=$n
    of "$field" "${@:2}"
    [ "$n" -gt "$less" ] || fail "$what: $field is $n, not more than $less by ${first[*]}"
}

load=("${blocks[@]}")
run XSIGMA_GPU_ALIGN=64K
is in_use_bytes_peak $((40 * 65536))
for backend in pool bfc; do
    run XSIGMA_GPU_BACKEND=$backend XSIGMA_GPU_ALIGN=64K
    is in_use_bytes_peak $((40 * 65536))
done
run XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_MIN_BLOCK=32K
is in_use_bytes_peak $((40 * 32768))
for size in 1M 64M; do
    run XSIGMA_GPU_BACKEND=bfc XSIGMA_GPU_BFC_INITIAL=$size
    is reserved_bytes_peak $((${size%M} << 20))
done
run XSIGMA_GPU_CACHE_MAX=64K
is cached_bytes_peak 65536

load=("${pair[@]}" 5000)
for rounded in none:5120 quarter:5120 eighth:5120 half:6144 pow2:8192; do
    run XSIGMA_GPU_ROUND=${rounded%:*}
    is in_use_bytes_peak "${rounded#*:}"
done
load=("${pair[@]}" 3000000)
run XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_MAX_BLOCK=2M
is slabs 0
run XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_MAX_BLOCK=4M
is slabs 1
run XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_LIMIT=1M
is slabs 0
run XSIGMA_GPU_BACKEND=bfc XSIGMA_GPU_BFC_LIMIT=1M
is slabs 0
run XSIGMA_GPU_BACKEND=bfc
is slabs 1

trace drift 20
more hits XSIGMA_GPU_WASTE=0 -- XSIGMA_GPU_WASTE=100
trace drift 300
more driver_mallocs XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_GROWTH=16 -- XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_GROWTH=1
more slabs_given_back XSIGMA_GPU_BACKEND=bfc -- XSIGMA_GPU_BACKEND=bfc XSIGMA_GPU_POOL_DEFRAGMENT=1ms
more evictions XSIGMA_GPU_CACHE_MAX=2G -- XSIGMA_GPU_CACHE_MAX=2G XSIGMA_GPU_CACHE_AGE=1ms
trace monte-carlo 40
more reserved_bytes_peak XSIGMA_GPU_HEADROOM=5 -- XSIGMA_GPU_HEADROOM=0

# Blocks that are kept whole in their class keep slabs from getting free.
trace monte-carlo 60
more reserved_bytes_peak XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_CLASS_BLOCKS=0 -- XSIGMA_GPU_BACKEND=pool XSIGMA_GPU_POOL_CLASS_BLOCKS=16

load=("$xs_build/tests/programs/gpu_steps")
for most in 0:0 512K:0 1M:1048576 3M:2097152; do
    run XSIGMA_GPU_PINNED_MAX=${most%:*} < <(printf '%s\n' 'pin 1048576' 'pin 1048576' unpin unpin)
    is pinned_allocations 2
    is pinned_cached_bytes_peak "${most#*:}"
done

# Memory is out while work is under way on what was freed: it gets done while it is looked at, or the
# whole device is waited for.
trace nosync 12
for wait in 0:2 10s:1; do
    run FAKE_CUDA_MEMORY=300000000 FAKE_CUDA_COUNTS="$xs_tmp/counts" XSIGMA_GPU_FREE=deferred XSIGMA_GPU_OOM_WAIT=${wait%:*}
    [ "$(get flushes)" -gt 0 ] || fail "$what: memory was never out"
    n=$(sed -n 's/^cuCtxSynchronize //p' "$xs_tmp/counts") # one is the program's own
    [ "$n" = "${wait#*:}" ] || fail "$what: $n waits for the device, not ${wait#*:}"
done

# One line for a wrong value, and the program goes on by the default.
load=("${blocks[@]}")
names=$(sed -nE 's/^ *X\([A-Z]+, GPU[A-Z_]*, "(GPU[A-Z_]*)".*/\1/p' "$xs_root/src/policy/knobs.h")
[ "$(wc -w <<<"$names")" -ge 22 ] || fail "not all variables found: $names"
for name in $names; do
    env LD_PRELOAD="$XS_LIB" XSIGMA_STATS=0 "XSIGMA_$name=12 wrong" "${load[@]}" >out 2>err
    [ "$(cat out)" = ok ] || fail "$name: $(cat out)"
    [ "$(wc -l <err)" = 1 ] && grep -q "^xsigma\[[0-9]*\]: XSIGMA_$name=12 wrong is not understood" err || fail "$name: said $(cat err)"
done
finish
