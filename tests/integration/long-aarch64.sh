#!/bin/bash
# The library on another processor: built by the cross compiler into a tree of its own, its unit
# tests, contract, stress and CUDA clients under an emulator of the machine.
# timeout: 3600
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

cross=aarch64-linux-gnu
need $cross-gcc $cross-g++ $cross-ar qemu-aarch64 make
tree=$build/aarch64
mkdir -p "$tree/empty" || exit 1
for f in src include tests preload cuda_shim scripts Makefile; do
    ln -sfn "$root/$f" "$tree/$f"
done
# tests/support/cross stands in for Criterion, which starts itself again as no emulator lets it.
[ -e "$tree/empty/libcriterion.a" ] || $cross-ar rcs "$tree/empty/libcriterion.a"

units=()
for f in "$root"/tests/unit/*.c; do
    f=${f##*/}
    units+=("build/tests/unit/${f%.c}")
done
programs=(bare_fork deepbind libdeep.so thread_storm fork_threads thread_ends)
clients=(shared static per-thread driver dlsym)
env -u MAKEFLAGS -u MAKELEVEL make -C "$tree" CC="$cross-gcc -Lempty" CXX=$cross-g++ \
    CPPFLAGS=-Itests/support/cross build/libxsigma.so "${units[@]}" build/tests/stress/plain \
    build/tests/contract/{contract,new,new_replaced} "${programs[@]/#/build/tests/programs/}" \
    "${clients[@]/#/build/tests/cuda/client-}" >"$work/make" 2>&1 || {
    tail -n 30 "$work/make"
    fail "it cannot be built for aarch64"
    finish
}
cd "$tree" || exit 1
export QEMU_LD_PREFIX=/usr/$cross

emulated() { # LABEL SECONDS COMMAND...
    local label=$1 limit=$2 status started=$SECONDS
    shift 2
    timeout --foreground "$limit" qemu-aarch64 "$@" >"$work/out" 2>&1
    status=$?
    echo "$label: status $status, $((SECONDS - started)) s"
    [ $status -eq 0 ] && return
    fail "$label: status $status$([ $status -eq 124 ] && echo ' (ran too long)')"
    tail -n 20 "$work/out"
}
# LD_PRELOAD is for the emulated program alone; the emulator hands the rest of its environment on.
preloaded() { # POLICY COMMAND...
    local policy=$1
    shift
    (
        export "${policy?}" LD_LIBRARY_PATH="$PWD/build/tests/cuda" XSIGMA_STATS_FILE="$work/report.json"
        emulated "${policy#XSIGMA_CPU_} $(basename "$1") ${2-}" 600 -E "LD_PRELOAD=$PWD/build/libxsigma.so" "$@"
        exit $failures
    )
    failures=$?
}

# Unit tests print what is set.
records=$XSIGMA_RECORD
unset XSIGMA_RECORD
for u in "${units[@]}"; do
    emulated "${u##*/}" 900 "$u"
done
export XSIGMA_RECORD=$records
# The emulator starts no program of its kind, keeps no RLIMIT_AS and sets no filter of system calls.
cases=$(qemu-aarch64 build/tests/contract/contract --list | grep -vx -e vfork-exec -e exhaustion)
[ "$(wc -l <<<"$cases")" -gt 20 ] || fail "the contract has few cases: $cases"
# mimalloc and oneTBB of that machine are not here: what is ours is.
for policy in XSIGMA_CPU_BACKEND=system XSIGMA_CPU_BACKEND=bfc 'XSIGMA_CPU_ROUTE=<=1K:bfc,*:system'; do
    # One case a process, as it does by itself where it can start itself again.
    for p in $cases; do
        preloaded "$policy" build/tests/contract/contract "$p"
    done
    for p in new new_replaced; do
        preloaded "$policy" build/tests/contract/$p
    done
    preloaded "$policy" build/tests/stress/plain 0.05
    preloaded "$policy" build/tests/programs/deepbind build/tests/programs/libdeep.so
    preloaded "$policy" build/tests/programs/thread_storm 5
    for p in fork_threads thread_ends; do
        preloaded "$policy" build/tests/programs/$p
    done
    for p in clone SYS_clone; do
        preloaded "$policy" build/tests/programs/bare_fork $p 3000 threads
    done
done
# The shim's jumps: every way of linking gets its memory from us.
for kind in "${clients[@]}"; do
    rm -f "$work/report.json"
    preloaded XSIGMA_CPU_BACKEND=bfc build/tests/cuda/client-"$kind" 7
    [ "$(json_get "$work/report.json" 'gpu[0].allocations')" = 7 ] ||
        fail "client-$kind: the report does not show its 7 allocations"
done
finish
