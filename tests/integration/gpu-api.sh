#!/bin/bash
# Device memory through include/xsigma.h, with the fake driver and without any; the report that
# such a program ends with.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
fakes=$build/tests/cuda
[ -r "$fakes/libcuda.so.1" ] || skip "the fakes are not built: make tests"
command -v c++ >/dev/null || skip "no c++ here"
export XSIGMA_RECORD=off
c++ -std=c++17 -O1 -g -Wall -Wextra -pthread -I"$root/include" \
    "$root/tests/programs/linked/api_gpu.cc" -o "$work/api" \
    -L"$(dirname "$lib")" -lxsigma -Wl,-rpath,"$(dirname "$lib")" || fail "it does not build"

run() { # VARIABLE=VALUE... [-- ARGUMENT...]
    local env=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        env+=("$1")
        shift
    done
    [ $# -eq 0 ] || shift
    env XSIGMA_STATS_FILE="$work/report.json" "${env[@]}" "$work/api" "$@" >"$work/out" 2>&1 || {
        fail "${env[*]} $*: status $?"
        cat "$work/out"
    }
}

run LD_LIBRARY_PATH="$fakes" FAKE_CUDA_DEVICES=2
for want in '"device": 0' '"device": 1' '"backend": "caching"' '"ooms": 2'; do
    grep -q "$want" "$work/report.json" || fail "no $want in the report"
done
run LD_LIBRARY_PATH="$fakes" FAKE_CUDA_DEVICES=2 XSIGMA_GPU_FREE=deferred
run LD_LIBRARY_PATH="$fakes" FAKE_CUDA_DEVICES=2 XSIGMA_CPU_BACKEND=system
# Both forms of the driver's call; with XSIGMA_GPU_PREFETCH=0 they are the program's alone.
for version in 11020,cuMemPrefetchAsync 13000,cuMemPrefetchAsync_v2; do
    run LD_LIBRARY_PATH="$fakes" FAKE_CUDA_DEVICES=2 FAKE_CUDA_VERSION="${version%,*}" \
        FAKE_CUDA_COUNTS="$work/counts" XSIGMA_GPU_BACKEND=managed XSIGMA_GPU_PREFETCH=0 -- managed
    grep -q "^${version#*,} 5\$" "$work/counts" ||
        fail "driver $version: $(grep Prefetch "$work/counts")"
done
run LD_LIBRARY_PATH="$fakes" XSIGMA_GPU=0 -- none
run LD_LIBRARY_PATH="$fakes" XSIGMA_DISABLE=1 -- none
run LD_LIBRARY_PATH="$fakes" FAKE_CUDA_STUB=1 -- stub
if ! ldconfig -p | grep -q 'libcuda\.so\.1'; then
    run NOTHING=1 -- none
    grep -q '"gpu": \[\]' "$work/report.json" || fail "a device in the report without any"
fi
# The text: a device's block stands between memory and sizes, in 80 columns.
env LD_LIBRARY_PATH="$fakes" FAKE_CUDA_DEVICES=2 XSIGMA_STATS=1 "$work/api" 2>"$work/err" >/dev/null
sed -n '/^MEMORY/,/^SIZES/p' "$work/err" | grep -q '^GPU  .*reserved .*hits$' || {
    fail "no devices in the report"
    cat "$work/err"
}
[ "$(awk 'length > 80' "$work/err" | wc -l)" = 0 ] || fail "more than 80 columns"
finish
