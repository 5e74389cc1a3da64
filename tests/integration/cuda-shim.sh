#!/bin/bash
# Programs that use CUDA in every way of linking, on the fake driver: they say what they say without the
# library, and each allocation and free goes through it, counted exactly. Names that are looked up mean
# what they meant, with CUDA and without.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
fakes=$build/tests/cuda
[ -x "$fakes/client-shared" ] || skip "the fakes are not built: make tests"
export LD_LIBRARY_PATH=$fakes FAKE_CUDA_COUNTS=$work/counts
[ -r "$fakes/toolkit" ] && LD_LIBRARY_PATH+=:$(cat "$fakes/toolkit")
names=$(program cuda_names) middle=$(program libcuda_middle) spy=$(program libcuda_spy) || exit 1

count() { # SYMBOL
    awk -v s="$1" '$1 == s { n = $2 } END { print n + 0 }' "$work/counts"
}
gpu() { # FIELD - of device 0 in the report
    json_get "$work/report.json" "gpu[0].$1" || echo none
}
# Runs a command with the library; $out, $status, and the report.
run() { # [NAME=VALUE...] [--] COMMAND...
    rm -f "$work/counts" "$work/report.json"
    out=$(under bfc XSIGMA_STATS_FILE="$work/report.json" "$@" 2>"$work/err")
    status=$?
}
same() { # WHAT WANTED GOT
    [ "$2" = "$3" ] || fail "$1: '$3' instead of '$2'"
}

# ---- every way of linking, drivers of every age ----
for version in 11020 11040 12040 12080 13000; do
    for kind in shared static per-thread driver dlsym; do
        what="client-$kind on $version"
        run FAKE_CUDA_VERSION=$version -- "$fakes/client-$kind" 7
        same "$what" "ok 0" "$out $status"
        same "$what: allocations" 7 "$(gpu allocations)"
        same "$what: frees" 7 "$(gpu frees)"
        # What is freed is kept, for all that the driver knows.
        [ "$(count cuMemAlloc_v2)" -le 7 ] || fail "$what: $(count cuMemAlloc_v2) allocations of the driver"
        same "$what: frees of the driver" 0 "$(count cuMemFree_v2)"
        same "$what: kept and given back" 7 "$(count cuMemAlloc_v2)"
    done
done

# ---- switched off ----
for off in XSIGMA_GPU=0 XSIGMA_DISABLE=1 CUDA_INJECTION64_PATH=/opt/libsanitizer-collection.so; do
    for kind in shared static per-thread driver dlsym; do
        run $off -- "$fakes/client-$kind" 7
        same "client-$kind with $off" "ok 0" "$out $status"
        same "client-$kind with $off: frees of the driver" 7 "$(count cuMemFree_v2)"
        [ -e "$work/report.json" ] && same "client-$kind with $off: devices" none "$(gpu allocations)"
        # What nobody asked for is said, once.
        case $off in
            CUDA_*) wanted='CUDA_INJECTION64_PATH names a sanitizer: GPU allocations go straight to the driver' ;;
            *) wanted='' ;;
        esac
        same "client-$kind with $off: lines" "$wanted" "$(sed -n 's/^xsigma\[[0-9]*\]: //p' "$work/err")"
    done
done
# So it is under cuda-gdb; another debugger changes nothing.
tracer=$(program tracer) || exit 1
for debugger in cuda-gdb-python3.11 gdb; do
    run "$tracer" $debugger "$fakes/client-static" 7
    [ "$status" != 77 ] || continue # nothing may be traced here
    same "client-static in $debugger" "ok 0" "$out $status"
    case $debugger in
        gdb) wanted='' kept=7 ;;
        *) wanted='cuda-gdb traces this process: GPU allocations go straight to the driver' kept=0 ;;
    esac
    same "client-static in $debugger: lines" "$wanted" "$(sed -n 's/^xsigma\[[0-9]*\]: //p' "$work/err")"
    same "client-static in $debugger: frees of the driver" $((7 - kept)) "$(count cuMemFree_v2)"
done
# One that attaches later is seen by what it writes into the driver.
edges=$(program cuda_edges) || exit 1
run "$edges" attached
same "a debugger attaches" "0
device: 0 0 0 1 500 0" "$out $status"
same "a debugger attaches: lines" "a debugger of device code has attached: GPU allocations go straight to the driver" \
    "$(sed -n 's/^xsigma\[[0-9]*\]: //p' "$work/err")"
same "a debugger attaches: kept" "$(count cuMemAlloc_v2)" "$(count cuMemFree_v2)"
[ "$(count cuMemFree_v2)" -ge 30 ] || fail "a debugger attaches: only $(count cuMemFree_v2) frees of the driver"
# So it is with a driver that lacks what is needed, here by another name; and with more contexts than we know.
mkdir "$work/lacking"
sed 's/cuStreamGetCtx/cuStreamGetXxx/g' "$fakes/libcuda.so.1" >"$work/lacking/libcuda.so.1"
run LD_LIBRARY_PATH="$work/lacking:$LD_LIBRARY_PATH" -- "$fakes/client-driver" 7
same "a driver that lacks a call" "ok 0" "$out $status"
same "a driver that lacks a call: frees of the driver" 7 "$(count cuMemFree_v2)"
same "a driver that lacks a call: lines" "this driver has no cuStreamGetCtx: GPU allocations go straight to the driver" \
    "$(sed -n 's/^xsigma\[[0-9]*\]: //p' "$work/err")"
if command -v python3 >/dev/null; then
    run python3 -c "
import ctypes
cuda = ctypes.CDLL('libcuda.so.1')
p = ctypes.c_ulonglong(); c = ctypes.c_void_p()
r = [cuda.cuInit(0)]
for i in range(34):
    r += [cuda.cuCtxCreate_v2(ctypes.byref(c), 0, 0), cuda.cuMemAlloc_v2(ctypes.byref(p), ctypes.c_size_t(4096)), cuda.cuMemFree_v2(p)]
    cuda.cuCtxPopCurrent_v2(ctypes.byref(c))
print(*sorted(set(r)))"
    same "34 contexts" "0 0" "$out $status"
    same "34 contexts: lines" "too many CUDA contexts at once: GPU allocations go straight to the driver" \
        "$(sed -n 's/^xsigma\[[0-9]*\]: //p' "$work/err")"
fi

# ---- errors are the driver's ----
run FAKE_CUDA_STUB=1 -- "$fakes/client-shared"
same "a stub of the driver" "error 34 in cudaGetDeviceCount(&count) 1" "$out $status"
run FAKE_CUDA_DEVICES=0 -- "$fakes/client-driver"
same "no device" "error 100 in CU(cuInit)(0) 1" "$out $status"
run FAKE_CUDA_MEMORY=$((6 * 4096)) -- "$fakes/client-static" 7
same "memory out" "error 2 in cudaMalloc(&p, bytes) 1" "$out $status"
run FAKE_CUDA_FAIL=cuMemAlloc_v2:1:999 -- "$fakes/client-shared" 7
same "an error" "error 999 in cudaMalloc(&p, bytes) 1" "$out $status"

# ---- a library that is linked with the driver, in a program that is not; Python ----
if plugin=$fakes/libcuda_plugin.so && [ -e "$plugin" ] && command -v python3 >/dev/null; then
    run python3 -c "
import ctypes
print(ctypes.CDLL('$plugin').run(6))"
    same "a library opened locally" "0 0" "$out $status"
    same "a library opened locally: allocations" 6 "$(gpu allocations)"
    same "a library opened locally: frees" 6 "$(gpu frees)"
    run python3 -c "
import ctypes
cuda = ctypes.CDLL('libcuda.so.1')
p = ctypes.c_ulonglong(); c = ctypes.c_void_p(); f = ctypes.c_void_p()
r = [cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(c), 0), cuda.cuCtxSetCurrent(c)]
for i in range(5):
    r += [cuda.cuMemAlloc_v2(ctypes.byref(p), ctypes.c_size_t(1 << 20)), cuda.cuMemFree_v2(p)]
g = cuda.cuGetProcAddress_v2
s = ctypes.c_uint(77)
r += [g(b'cuMemAlloc', ctypes.byref(f), 3020, ctypes.c_ulonglong(0), ctypes.byref(s)), s.value]
r += [g(b'cuMemAlloc', ctypes.byref(f), 1000, ctypes.c_ulonglong(0), ctypes.byref(s)), s.value, f.value]
r += [g(b'cuMemAlloc', None, 3020, ctypes.c_ulonglong(0), ctypes.byref(s))]
r += [g(None, ctypes.byref(f), 3020, ctypes.c_ulonglong(0), None)]
r += [g(b'cuMemAlloc', ctypes.byref(f), 3020, ctypes.c_ulonglong(0), None), f.value is not None]
print(r)
try:
    cuda.cuNothing
except AttributeError as e:
    print(e)
rt = ctypes.CDLL('libcudart.so.12')
q = ctypes.c_void_p()
print(rt.cudaMalloc(ctypes.byref(q), ctypes.c_size_t(4096)), rt.cudaFree(q), rt.cudaDeviceSynchronize())"
    wanted="$(printf '%s\n' "[$(printf '0, %.0s' {1..13})0, 0, 0, 2, None, 1, 1, 0, True]" \
        "$(sed -n 2p <<<"$out")" "0 0 0")"
    same "ctypes" "$wanted" "$out"
    case $out in
        *"undefined symbol: cuNothing"*) ;;
        *) fail "ctypes: no word of the symbol that is none: $out" ;;
    esac
    same "ctypes: allocations" 6 "$(gpu allocations)"
    # A worker that was forked is the first to use CUDA: what it frees, it gets again. After its parent it is not.
    for first in child parent; do
        rm -f "$work/counts"
        out=$(under bfc FAKE_CUDA_COUNTS="$work/counts" python3 - $first 2>"$work/err" <<'PY'
import ctypes, os, sys
def use():
    cuda = ctypes.CDLL('libcuda.so.1')
    p = ctypes.c_ulonglong()
    c = ctypes.c_void_p()
    r = [cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(c), 0), cuda.cuCtxSetCurrent(c)]
    for i in range(4):
        r += [cuda.cuMemAlloc_v2(ctypes.byref(p), ctypes.c_size_t(1 << 20)), cuda.cuMemFree_v2(p)]
    print(*sorted(set(r)), flush=True)
if sys.argv[1] == 'parent':
    use()
pid = os.fork()
if pid == 0:
    use()
    os._exit(0) if sys.argv[1] == 'parent' else sys.exit(0)
os.waitpid(pid, 0)
PY
        )
        [ $first = child ] && wanted=0 || wanted=$'0\n3'
        same "forked, the $first first" "$wanted" "$out"
        same "forked, the $first first: calls of the driver" 1 "$(sed -n 's/^cuMemAlloc_v2 //p' "$work/counts")"
    done
    same "ctypes: frees" 6 "$(gpu frees)"
else
    echo "no plug-in or no python3: left out"
fi

# ---- names mean what they meant ----
# Before glibc 2.36 dlsym(RTLD_NEXT) finds hidden versions too, hence our exports.
told() { # what cuda_names printed
    case $(getconf GNU_LIBC_VERSION) in
        *\ 2.3[45]) sed '/^next "cu/d' "$1" ;;
        *) cat "$1" ;;
    esac
}
for libraries in "" libcuda.so.1 +libcuda.so.1 libcudart.so.12 "+libcudart.so.12 libcuda.so.1" \
    "$middle" "$middle libcuda.so.1" "+libcuda.so.1 +$middle"; do
    # shellcheck disable=SC2086 # words
    "$names" $libraries >"$work/without" 2>&1 || fail "cuda_names $libraries: $(cat "$work/without")"
    for off in XSIGMA_GPU=1 XSIGMA_GPU=0; do
        # shellcheck disable=SC2086
        under bfc $off XSIGMA_STATS=0 "$names" $libraries >"$work/with" 2>&1
        diff <(told "$work/without") <(told "$work/with") >"$work/diff" || { fail "names with '$libraries', $off:"; head "$work/diff"; }
    done
    echo "names with '$libraries': $(grep -c 'found in libcuda' "$work/without") of $(wc -l <"$work/without") are CUDA's"
done

# ---- CUDA in a library's constructor, before our own ----
for chain in "$lib:$fakes/libcuda_plugin.so" "$fakes/libcuda_plugin.so:$lib"; do
    rm -f "$work/report.json"
    out=$(env LD_PRELOAD="$chain" PLUGIN_EARLY=1 XSIGMA_STATS_FILE="$work/report.json" "$fakes/client-dlsym" 7 2>"$work/err")
    same "used by a constructor" ok "$out"
    same "used by a constructor: allocations" 10 "$(gpu allocations)"
done

# ---- edges: fork, copies, dlclose, threads ----
edges=$(program cuda_edges) || exit 1
run "$edges" fork
same "fork" "$(printf '%s\n' 0 "0 in the parent; in the child 3 and 3" "0, 0")" "$out"
run "$edges" managed
same "managed" "0 42" "$out"
run "$edges" close
same "close" "$(printf '%s\n' 0 0 0 0)" "$out"
for i in {1..20}; do
    run "$edges" threads
    same "threads, round $i" "0 0 0 0 0 0 0 0 " "$out"
    same "threads, round $i: allocations" 8 "$(gpu allocations)"
    [ "$out" = "0 0 0 0 0 0 0 0 " ] || break
done

# ---- libraries in the middle of the chain, on either side of us ----
cp "$middle" "$work/libother.so"
for chain in "$middle:$lib" "$lib:$middle" "$middle:$lib:$work/libother.so"; do
    for kind in driver dlsym shared; do
        what="client-$kind under ${chain//"$build"\//}"
        wanted=7
        [ $kind = driver ] || wanted=0 # the others look names up in libcuda itself
        rm -f "$work/counts" "$work/report.json"
        out=$(env LD_PRELOAD="$chain" MIDDLE_SAYS=1 XSIGMA_STATS_FILE="$work/report.json" "$fakes/client-$kind" 7 2>"$work/err")
        same "$what" ok "$out"
        same "$what: who was called" "$(tr ':' '\n' <<<"$chain" | grep -vxF "$lib" | sed "s/.*/middle: 1 puts, $wanted cuMemAlloc_v2/")" \
            "$(grep '^middle' "$work/err")"
        same "$what: allocations" 7 "$(gpu allocations)"
    done
done

# ---- what the runtime gets: our function where the driver's is one of ours, and only there ----
# shellcheck source=../support/spied.sh
. "$root/tests/support/spied.sh"
for kind in static shared per-thread real-static real-shared; do
    [ -x "$fakes/client-$kind" ] || { echo "no toolkit: client-$kind left out"; continue; }
    rm -f "$work/spy"
    LD_PRELOAD=$spy:$lib SPY_ON=$lib SPY_LOG=$work/spy XSIGMA_STATS=0 "$fakes/client-$kind" 1 >/dev/null 2>&1
    least=200
    [[ $kind == real-* ]] && least=440
    [ "$(wc -l <"$work/spy")" -ge $least ] || fail "client-$kind: $(wc -l <"$work/spy") look-ups"
    check_spied "client-$kind"
    for name in cuMemAlloc cuMemFree cuMemHostAlloc cuMemFreeHost cuMemAllocManaged cuMemAllocPitch cuGetProcAddress; do
        grep -q "^$name .* libxsigma.so$" "$work/spy" || fail "client-$kind: $name is not hooked"
    done
done

LD_PRELOAD=$spy:$lib SPY_ON=$lib SPY_LOG=$work/spy XSIGMA_GPU=0 XSIGMA_STATS=0 "$fakes/client-static" 1 >/dev/null 2>&1
same "XSIGMA_GPU=0: look-ups that are hooked" 0 "$(grep -c ' libxsigma.so$' "$work/spy")"
grep -q '^cuMemAlloc 3020 0 cuMemAlloc_v2 libcuda.so.1$' "$work/spy" || fail "XSIGMA_GPU=0: nothing was looked up"

# ---- a process without CUDA ----
look=$(program cuda_look_up)
under bfc XSIGMA_STATS=0 "$look" 10 cuMemAlloc_v2 2>/dev/null && fail "without CUDA a name of it is found"
if command -v valgrind >/dev/null; then
    instructions() { # PRELOAD COUNT
        env LD_PRELOAD="$1" XSIGMA_STATS=0 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$look" "$2" getenv 2>&1 |
            sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
    }
    without=$(($(instructions "" 20000) - $(instructions "" 10000)))
    with=$(($(instructions "$lib" 20000) - $(instructions "$lib" 10000)))
    printf 'dlsym of getenv: %d.%d instructions without the library, %d.%d with it\n' \
        $((without / 10000)) $((without / 1000 % 10)) $((with / 10000)) $((with / 1000 % 10))
    [ $((with - without)) -le 200000 ] || fail "more than 20 instructions on top of dlsym"
fi
finish
