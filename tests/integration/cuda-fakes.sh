#!/bin/bash
# The fakes as the GPU tests use them: programs that know nothing of them find the fake driver in
# every way of linking, and it counts, fails and stands in for the stub as told by the environment.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda
[ -x "$fakes/client-static" ] || skip "the fakes are not built: make tests"
export LD_LIBRARY_PATH=$fakes FAKE_CUDA_COUNTS=$xs_tmp/counts

count() { # SYMBOL
    awk -v s="$1" '$1 == s { n = $2 } END { print n + 0 }' counts
}
client() { # KIND WANTED-OUTPUT [VARIABLE=VALUE...]
    local kind=$1 wanted=$2 got
    shift 2
    rm -f counts
    got=$(env "$@" "$fakes/client-$kind" 7 2>err)
    [ "$got" = "$wanted" ] || fail "client-$kind $*: '$got' instead of '$wanted': $(cat err)"
}
counted() { # KIND SYMBOL WANTED
    local n
    n=$(count "$2")
    [ "$n" = "$3" ] || fail "client-$1: $n calls of $2 instead of $3"
}

for kind in shared static per-thread driver dlsym; do
    client $kind ok
    counted $kind cuMemAlloc_v2 7
    counted $kind cuMemFree_v2 7
    counted $kind cuInit 1
    case $kind in
        per-thread) counted $kind cuMemsetD8Async_ptsz 7 ;;
        *) counted $kind cuMemsetD8Async 7 ;;
    esac
    case $kind in
        driver | dlsym) counted $kind cuGetProcAddress_v2 0 ;;
        *) [ "$(count cuGetProcAddress_v2)" -ge 200 ] || fail "client-$kind: too few look-ups" ;;
    esac
done

client shared "error 2 in cudaMalloc(&p, bytes)" FAKE_CUDA_FAIL=cuMemAlloc_v2:3:2
counted shared cuMemAlloc_v2 3
counted shared cuMemFree_v2 0
client static "error 2 in cudaMalloc(&p, bytes)" FAKE_CUDA_MEMORY=$((6 * 4096))
client static ok FAKE_CUDA_MEMORY=$((7 * 4096))
client shared "error 34 in cudaGetDeviceCount(&count)" FAKE_CUDA_STUB=1
client driver "error 100 in CU(cuInit)(0)" FAKE_CUDA_DEVICES=0
client driver ok FAKE_CUDA_LOG="$xs_tmp/log"
[ "$(grep -c '^cuMemAlloc_v2$' log)" = 7 ] || fail "the log has not all calls"

# NVIDIA's own runtime looks all up in the fake, then misses the driver's undocumented tables.
for kind in real-shared real-static; do
    if [ -x "$fakes/client-$kind" ]; then
        rm -f counts
        LD_LIBRARY_PATH=$fakes:$(cat "$fakes/toolkit") "$fakes/client-$kind" 1 >out 2>&1
        [ "$(count cuGetProcAddress_v2)" -ge 300 ] || fail "client-$kind: too few look-ups"
    else
        echo "no toolkit: client-$kind left out"
    fi
done
xs_runs=1
finish
