#!/bin/bash
# What is kept of the GPU's memory goes back when less is free on the device than there should be, by
# every back end that keeps any; and it goes, pinned host memory too, when memory of the host runs
# short. The report says so. With enough memory nothing goes.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda
[ -r "$fakes/libcuda.so.1" ] || skip "the fakes are not built: make tests"
[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3
program gpu_steps

# run VARIABLE=VALUE... -- STEP...: each step must succeed.
run() {
    local set=()
    while [ "$1" != -- ]; do
        set+=("$1")
        shift
    done
    shift
    what="${set[*]}"
    xs_runs=$((xs_runs + 1))
    rm -f report.json
    printf '%s\n' "$@" | env LD_LIBRARY_PATH="$fakes" LD_PRELOAD="$XS_LIB" \
        XSIGMA_STATS_FILE="$xs_tmp/report.json" "${set[@]}" "$xs_program" >out 2>err
    [ "$(cat out)" = "$(printf '%s 0\n' "$@")" ] || fail "$what: $(cat out err)"
}
holds() { # EXPRESSION: python, of the report r and its device g
    python3 - "$1" <<'END' || fail "$what: not so: $1"
import json, sys
r = json.load(open("report.json"))
g = r["gpu"][0]
p = r["cpu"]["memory_pages"]["pressure"] if r["cpu"]["memory_pages"] else None
ok = eval(sys.argv[1])
if not ok:
    print({k: v for k, v in g.items() if v}, p)
sys.exit(not ok)
END
}

# --- the device: 40 of 64 MiB are kept, then 12 and 1 more are wanted, which no kept block may serve ---
M=1048576
way=("m $((20 * M))" "m $((20 * M))" f f sleep "m $((12 * M))" sleep "m $M" f)
few=(FAKE_CUDA_MEMORY=$((64 * M)) XSIGMA_GPU_WASTE=0)
run "${few[@]}" XSIGMA_GPU_LOW_FREE=0 -- "${way[@]}"
holds "g['evictions'] == 0 and g['cached_bytes'] == 41 << 20"
run "${few[@]}" XSIGMA_GPU_LOW_FREE=16M -- "${way[@]}"
holds "g['evictions'] == g['driver_frees'] == 1 and g['cached_bytes'] == 21 << 20"
holds "g['cached_bytes_peak'] == 41 << 20 and g['reserved_bytes'] == 33 << 20"
"$xs_build/xsigma" report report.json | grep -q '1 frees,.*1 evictions' || fail "no eviction in the text"
# Others take memory while this program finds all that it needs in what is kept: 4 MiB are left then.
way=("m $((20 * M))" "m $((20 * M))" f f "n 1" sleep "async $((20 * M))" "n 1000")
run "${few[@]}" XSIGMA_GPU_LOW_FREE=0 -- "${way[@]}"
holds "g['evictions'] == 0 and g['hits'] == 1000 and g['cached_bytes'] == (40 << 20) + 4096"
run "${few[@]}" XSIGMA_GPU_LOW_FREE=16M -- "${way[@]}"
holds "g['evictions'] == g['driver_frees'] == 1 and g['hits'] == 1000"
holds "g['cached_bytes'] == (20 << 20) + 4096 and g['driver_mallocs'] == 3"
for backend in pool bfc; do
    run "${few[@]}" XSIGMA_GPU_BACKEND=$backend XSIGMA_GPU_LOW_FREE=0 -- "${way[@]}"
    holds "g['reserved_bytes'] >= 40 << 20"
    run "${few[@]}" XSIGMA_GPU_BACKEND=$backend XSIGMA_GPU_LOW_FREE=16M -- "${way[@]}"
    holds "g['slabs_given_back'] == g['driver_frees'] >= 1 and g['reserved_bytes'] <= 24 << 20"
done
# Ranges of pool and bfc: two, of which one is free; then a third, which is wanted when 56 of 96 are free.
way=("m $((20 * M))" "m $((20 * M))" f sleep "m $((25 * M))" f)
few=(FAKE_CUDA_MEMORY=$((96 * M)))
for backend in pool bfc; do
    run "${few[@]}" XSIGMA_GPU_BACKEND=$backend XSIGMA_GPU_LOW_FREE=0 -- "${way[@]}"
    holds "g['driver_frees'] == 0 and g['reserved_bytes'] >= 65 << 20"
    run "${few[@]}" XSIGMA_GPU_BACKEND=$backend XSIGMA_GPU_LOW_FREE=60M -- "${way[@]}"
    holds "g['slabs_given_back'] == g['driver_frees'] >= 1 and g['reserved_bytes'] < 40 << 20"
done

# --- the host: 30 MiB pinned and 20 MiB of the device are kept, then 190 of 200 MiB are in use ---
way=("pin $((10 * M))" "pin $((10 * M))" "pin $((10 * M))" unpin unpin unpin "m $((20 * M))" f
    "host $((95 * M))" "host $((95 * M))" "m $((50 * M))")
run XSIGMA_GPU_LOW_FREE=0 -- "${way[@]}"
holds "g['pinned_cached_bytes'] == 30 << 20 and g['cached_bytes'] == 20 << 20"
run XSIGMA_GPU_LOW_FREE=0 XSIGMA_MEMORY_LIMIT=200M -- "${way[@]}"
holds "g['pinned_cached_bytes'] == 0 and g['pinned_cached_bytes_peak'] == 30 << 20"
holds "g['cached_bytes'] == 0 and g['cached_bytes_peak'] == 20 << 20"
holds "p['shrinks'] >= 1 and p['warnings'] == 1"
grep -q 'memory runs short: .* GPU caches ' err || fail "no line that names the GPU's caches: $(cat err)"
"$xs_build/xsigma" report report.json >text
grep -q 'memory ran short: caches gave way' text || fail "not in the text: $(cat text)"
grep -qE 'cached 0 B .at most 30\.0 MiB' text || fail "no pinned levels: $(cat text)"
# A thousand hits look at it too, without a miss.
run XSIGMA_GPU_LOW_FREE=0 XSIGMA_MEMORY_LIMIT=200M -- "n 1" "${way[@]::10}" "n 1000"
holds "g['pinned_cached_bytes'] == 0"
finish
