#!/bin/bash
# Random CUDA programs against the oracle of the fake driver (see main.c): some hundreds of seeds on
# the GPU core, plain and under the sanitizers, then with the library preloaded.
# gpu.sh [COUNT [FIRST]]
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

count=${1:-1500}
first=${2:-1}
property=$build/tests/property
for p in gpu gpu-asan gpu-tsan gpu-shim; do
    [ -x "$property/$p" ] || skip "no $property/$p: run make tests"
done

run() { # NAME COMMAND...
    local name=$1 status
    shift
    timeout --foreground $((60 + count / 10)) "$@" >"$work/out" 2>&1
    status=$?
    if [ $status -ne 0 ]; then
        fail "$name: status $status"
        grep -v '^fake driver: violation' "$work/out" | head -n 60
    else
        echo "$name: $(grep ' programs, ' "$work/out")"
    fi
}

run plain "$property/gpu" --seeds "$first" "$count"
run "threads that run free" "$property/gpu" --free --seeds "$first" $((count / 5))
run "address sanitizer" "$property/gpu-asan" --seeds "$first" $((count / 10))
# gcc's thread sanitizer cannot place its shadow where addresses are spread widely.
fixed=(setarch -R)
"${fixed[@]}" true 2>/dev/null || fixed=()
if "${fixed[@]}" "$property/gpu-tsan" --seeds 1 0 >"$work/out" 2>&1; then
    export TSAN_OPTIONS='halt_on_error=1 exitcode=66 history_size=4'
    run "thread sanitizer" "${fixed[@]}" "$property/gpu-tsan" --free --seeds "$first" $((count / 20))
elif ! grep -q 'unexpected memory mapping' "$work/out"; then
    fail "the thread sanitizer's program does not start"
fi
run preloaded "$property/gpu-shim" --preload "$lib" --seeds "$first" $((count / 10))
finish
