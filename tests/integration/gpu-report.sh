#!/bin/bash
# What the report says of devices after an unmodified program, by every back end, preset and way of
# setting them; and nothing where there is nothing to say.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda
[ -x "$fakes/client-static" ] || skip "the fakes are not built: make tests"
[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3
export LD_LIBRARY_PATH=$fakes XSIGMA_RECORD=off
blocks=40

run() { # VARIABLE=VALUE...: a client allocates, fills, checks and frees blocks of 4 KiB
    xs_runs=$((xs_runs + 1))
    what="$*"
    rm -f report.json
    env LD_PRELOAD="$XS_LIB" XSIGMA_STATS_FILE="$xs_tmp/report.json" "$@" \
        "$fakes/client-static" $blocks >out 2>err
    [ "$(cat out)" = ok ] || fail "$what: '$(cat out)': $(cat err)"
    [ ! -s err ] || fail "$what: on stderr: $(cat err)"
}
# holds EXPRESSION: python, of the report r and its first device g.
holds() {
    python3 - "$1" <<'END' || fail "$what: not so: $1"
import json, sys
r = json.load(open("report.json"))
g = r["gpu"][0] if r["gpu"] else None
config = {c["name"]: c for c in r["config"]}
sys.exit(not eval(sys.argv[1]))
END
}

run NOTHING=1
holds 'len(r["gpu"]) == 1 and g["device"] == 0 and g["backend"] == "caching"'
holds "g['allocations'] == g['frees'] == $blocks and g['requested_bytes'] == $blocks * 4096"
holds "g['in_use_bytes'] == 0 and g['in_use_bytes_peak'] == $blocks * 4096"
holds 'g["hits"] + g["misses_cold"] == g["allocations"] and g["driver_mallocs"] == g["misses_cold"]'
holds 'g["cached_bytes"] == g["reserved_bytes"] == g["driver_mallocs"] * 4096'
holds 'g["failures"] == g["ooms"] == g["bad_frees"] == 0 and r["advice"] == []'
holds 'g["cache_max_bytes"] == 256 << 20 and g["largest_request_bytes"] == 4096'
for backend in caching pool bfc direct managed; do
    run XSIGMA_GPU_BACKEND=$backend
    holds "g['backend'] == '$backend' and g['allocations'] == g['frees'] == $blocks"
    holds 'g["in_use_bytes"] == 0 and g["reserved_bytes"] <= g["reserved_bytes_peak"]'
done
run XSIGMA_GPU_BACKEND=direct
holds "g['driver_mallocs'] == g['driver_frees'] == $blocks and g['hit_permille'] is None"
for preset in monte-carlo pde risk; do
    run XSIGMA_PRESET=$preset XSIGMA_CPU_BACKEND=system XSIGMA_CPU_NUMA=
    holds "g['allocations'] == g['frees'] == $blocks"
    holds "config['XSIGMA_GPU_FREE']['value'] == 'deferred'"
done
holds 'g["backend"] == "caching,bfc"'
run XSIGMA_GPU_ROUTE='<4K:caching,*:direct'
holds "g['backend'] == 'caching,direct' and g['driver_mallocs'] == $blocks"
run XSIGMA_GPU_CACHE_MAX=0
holds "g['cached_bytes_peak'] == 0 and g['driver_frees'] == $blocks"
run XSIGMA_GPU0_BACKEND=direct XSIGMA_GPU1_CACHE_MAX=1M
holds 'g["backend"] == "direct"'
holds 'config["XSIGMA_GPU0_BACKEND"]["default"] == "caching"'
holds 'config["XSIGMA_GPU1_CACHE_MAX"]["value"] == "1M"'
run XSIGMA_GPU=0
holds 'r["gpu"] == [] and r["advice"] == []'

# A library's constructor may use CUDA before ours has run: the variables hold all the same.
early=$xs_build/tests/programs/libgpu_early.so
[ -r "$early" ] || fail "no $early: make tests"
for limit in 1M 0; do
    what="early, $limit"
    env LD_PRELOAD="$XS_LIB:$early" XSIGMA_STATS_FILE="$xs_tmp/report.json" \
        XSIGMA_GPU_CACHE_MAX=$limit true >out 2>err
    [ ! -s out ] && [ ! -s err ] || fail "$what: $(cat out err)"
    holds "g['allocations'] == 2 and g['hits'] == ('$limit' == '1M')"
done
what="early, off"
env LD_PRELOAD="$XS_LIB:$early" XSIGMA_STATS_FILE="$xs_tmp/report.json" XSIGMA_GPU=0 true
holds 'r["gpu"] == []'

# An allocation that fails is told of, with its size.
what="out of memory"
env LD_PRELOAD="$XS_LIB" XSIGMA_STATS_FILE="$xs_tmp/report.json" FAKE_CUDA_MEMORY=$((9 * 4096)) \
    XSIGMA_GPU_OOM_WAIT=1ms "$fakes/client-static" $blocks >out 2>err
[ "$(cat out)" = "error 2 in cudaMalloc(&p, bytes)" ] || fail "$what: $(cat out err)"
holds 'g["failures"] == g["ooms"] == 1 and g["last_oom_bytes"] == 4096'

# What the driver gives out by itself is counted, and what of it is in use known.
edges=$xs_build/tests/programs/cuda_edges
what="passed through"
env LD_PRELOAD="$XS_LIB" XSIGMA_STATS_FILE="$xs_tmp/report.json" "$edges" passed >out 2>err
[ "$(cat out)" = 0 ] || fail "$what: $(cat out err)"
holds 'g["async_allocations"] == 3 and g["async_bytes"] == 3 << 20'
holds 'g["async_in_use_bytes"] == 1 << 20 and g["async_in_use_bytes_peak"] == 3 << 20'
holds 'g["vmm_allocations"] == 3 and g["vmm_bytes"] == g["vmm_in_use_bytes_peak"] == 6 << 20'
holds 'g["vmm_in_use_bytes"] == 2 << 20'
holds 'g["graph_allocations"] == 2 and g["graph_bytes"] == 3 << 20'

# Of a block that was freed the driver knows, and the program hears nothing of it, as without us.
"$edges" freed >without 2>&1
grep -q '^device: 0 2 0 0 0$' without || fail "cuda_edges freed: $(cat without)"
for backend in caching pool bfc direct; do
    env LD_PRELOAD="$XS_LIB" XSIGMA_STATS=0 XSIGMA_GPU_BACKEND=$backend "$edges" freed >out 2>&1
    cmp -s without out || fail "freed, $backend: $(diff without out)"
done

# In text: one block for the device, within the screen, and none without.
env LD_PRELOAD="$XS_LIB" XSIGMA_STATS=1 "$fakes/client-static" $blocks >out 2>err
grep -q '^GPU .*reserved .*peak .*in use .*cached .*calls .*hits$' err || fail "no table: $(cat err)"
grep -qE "^  0 .* $blocks +[0-9.]+%\$" err || fail "no device: $(cat err)"
grep -q '^    by caching, at most 160 KiB in use, ' err || fail "no levels: $(cat err)"
grep -qE '^    driver: [0-9]+ allocations, 0 frees, ' err || fail "no driver: $(cat err)"
[ "$(awk 'length > 80' err | wc -l)" = 0 ] || fail "beyond 80 columns: $(cat err)"
env LD_PRELOAD="$XS_LIB" XSIGMA_STATS=1 true 2>err
grep -q '^GPU' err && fail "a device in the report of true"
finish
