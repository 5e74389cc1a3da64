#!/bin/bash
# In a memory cgroup: what fits under glibc fits under the own core with 5 % more, and a program that
# frees much lives because free memory goes back in time, which the report says.
# timeout: 280
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/cgroup.sh
. "$(dirname "$0")/../support/cgroup.sh"
need python3 perl sort

heavy=$(program cache_heavy) || exit 1
cgroup_make || skip "no memory cgroup can be made here"
trap 'cgroup_remove; rm -rf "$work"' EXIT

# A limit at which it reads its own code again and again is too small.
inside() { # COMMAND...
    cgroup_run timeout 30 "$@" >"$work/out" 2>"$work/err"
}
lines() {
    grep -c 'memory runs short' "$work/err"
}

# ---- a program that frees much ----
cgroup_limit $((300 << 20))
inside "$heavy" 60 180 8 || skip "300 MiB do not hold it under glibc either"
inside env LD_PRELOAD="$lib" XSIGMA_STATS=0 XSIGMA_PRESSURE_WARN=0 "$heavy" 60 180 8 &&
    fail "it fits without caches giving way: this test says nothing"
for _ in 1 2 3; do
    inside env LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$work/r.json" "$heavy" 60 180 8 ||
        fail "cache_heavy in 300 MiB: status $?"
    [ "$(lines)" = 1 ] || fail "$(lines) warnings: $(cat "$work/err")"
done
cat "$work/err"
limit_is=$(json_get "$work/r.json" cpu.memory_pages.pressure.limit_bytes)
[ "$limit_is" = $((300 << 20)) ] || fail "the report takes the limit for $limit_is"
[ "$(json_get "$work/r.json" cpu.memory_pages.pressure.shrinks)" -ge 1 ] || fail "the report tells of no caches that gave way"
[ "$(json_get "$work/r.json" cpu.memory_pages.pressure.given_back_bytes)" -gt $((50 << 20)) ] || fail "the report: $(json_get "$work/r.json" cpu.memory_pages.pressure.given_back_bytes) bytes given back"
# In time, with true numbers: the kernel's own count at that time was below the limit.
percent=$(sed -nE 's/.*used \(([0-9]+)%\).*/\1/p' "$work/err")
{ [ "${percent:-0}" -ge 85 ] && [ "$percent" -lt 100 ]; } || fail "warned at $percent %"
cgroup_limit $((900 << 20))
inside env LD_PRELOAD="$lib" XSIGMA_STATS=0 "$heavy" 60 180 8 || fail "cache_heavy in 900 MiB: status $?"
[ "$(lines)" = 0 ] || fail "a warning far from the limit: $(cat "$work/err")"

# ---- a cgroup so small that the core's pages would count ----
# Nobody asked for anything: it stands aside, in each process, and the first one says so.
unasked() {
    inside env -u XSIGMA_RECORD LD_PRELOAD="$lib" sh -c 'cat /proc/self/maps; :' || fail "status $?"
}
aside='^xsigma.*cgroup has less than 8 MiB.*stands aside$'
cgroup_limit $((7 << 20))
unasked
{ grep -q "$aside" "$work/err" && [ "$(wc -l <"$work/err")" = 1 ]; } || fail "in 7 MiB: $(cat "$work/err")"
grep -q '\[heap\]' "$work/out" || fail "in 7 MiB glibc's malloc does not serve the child"
# Nor is anything kept of device memory; but a library's constructor may have begun with it before that.
fakes=$build/tests/cuda
early=$build/tests/programs/libgpu_early.so
client() { # LIBRARIES COMMAND...
    rm -f "$work/counts"
    inside env -u XSIGMA_RECORD LD_LIBRARY_PATH="$fakes" FAKE_CUDA_COUNTS="$work/counts" LD_PRELOAD="$1" "${@:2}" || fail "$*: status $?"
}
if [ -x "$fakes/client-shared" ]; then
    client "$lib" "$fakes/client-shared" 7
    grep -qx 'cuMemFree_v2 7' "$work/counts" || fail "aside: $(cat "$work/counts")"
    client "$lib:$early" true
    grep -qx 'cuMemAlloc_v2 1' "$work/counts" || fail "begun early: $(cat "$work/counts")"
    { grep -q '^GPU' "$work/err" && ! grep -q "$aside" "$work/err"; } || fail "begun early: $(cat "$work/err")"
fi
cgroup_limit $((9 << 20))
unasked
grep -q "$aside" "$work/err" && fail "in 9 MiB: $(cat "$work/err")"
grep -q '\[heap\]' "$work/out" && fail "in 9 MiB glibc's malloc serves the child, so this test says nothing"

served() { # VARIABLE... - what the report says of each variable
    rm -f "$work/r.json"
    inside env -u XSIGMA_RECORD LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$work/r.json" "$@" sh -c : || fail "status $?"
    python3 -c 'import json, sys
for c in json.load(open(sys.argv[1]))["config"]: print(c["name"] + "=" + c["value"], c["source"])' "$work/r.json"
}
cgroup_limit $((7 << 20))
served >"$work/config"
grep -qx 'XSIGMA_CPU_BACKEND=system cgroup' "$work/config" || fail "in 7 MiB: $(cat "$work/config")"
grep -qx 'XSIGMA_RECORD=off cgroup' "$work/config" || fail "in 7 MiB: $(cat "$work/config")"
[ "$(json_get "$work/r.json" cpu.totals.allocations)" -gt 0 ] || fail "nothing was counted"
# A child knows by its parent's mark.
inside env -u XSIGMA_RECORD LD_PRELOAD="$lib" XSIGMA_STATS_CHILDREN=1 XSIGMA_STATS_FILE="$work/c-%p.json" sh -c 'sh -c :; :' || fail "status $?"
json_flat=$(program json_flat) || exit 1
reports=("$work"/c-*.json)
[ ${#reports[@]} -eq 2 ] || fail "${#reports[@]} reports of two processes"
for report in "${reports[@]}"; do
    "$json_flat" "$report" | grep -q '[.]source cgroup$' || fail "of two processes in 7 MiB: $report"
done
served XSIGMA_CPU_BACKEND=bfc >"$work/config"
grep -qx 'XSIGMA_CPU_BACKEND=bfc env' "$work/config" || fail "bfc in 7 MiB: $(cat "$work/config")"
cgroup_limit $((9 << 20))
served >"$work/config"
grep -q 'cgroup$' "$work/config" && fail "in 9 MiB: $(cat "$work/config")"
# ---- another back end, which takes its memory without a word ----
if have_backend mimalloc; then
    cgroup_limit $((200 << 20))
    inside env LD_PRELOAD="$lib" XSIGMA_CPU_BACKEND=mimalloc XSIGMA_STATS=0 "$heavy" 184 2 1 || fail "mimalloc: status $?"
    [ "$(lines)" = 1 ] && grep -q 'of 200 MiB of the memory cgroup used.*mimalloc [0-9]' "$work/err" || fail "mimalloc: $(cat "$work/err")"
fi

# ---- memory that is got at start ----
cgroup_limit $((100 << 20))
inside env LD_PRELOAD="$lib" XSIGMA_PREFAULT=200M XSIGMA_STATS=0 "$heavy" 5 5 1 || fail "more than the group has, prefaulted: status $?"

# ---- what fits under glibc ----
fits() { # NAME COMMAND... - within 2 %
    local name=$1
    shift
    "$@" >/dev/null 2>&1 # what it reads counts for whoever reads it first
    cgroup_find_least $((2 << 20)) $((512 << 20)) 50 inside "$@"
    cgroup_limit $((cgroup_least / 100 * 105))
    echo "$name: $((cgroup_least >> 10)) KiB under glibc"
    cgroup_holds inside env LD_PRELOAD="$lib" XSIGMA_STATS=0 "$@" || fail "$name does not fit 5 % more"
}
cat >"$work/words.py" <<'PY'
x = [str(i) * 3 for i in range(300000)]
d = {k: len(k) for k in x}
print(sum(d.values()))
PY
seq 1 400000 | tac >"$work/numbers"
fits python3 env PYTHONMALLOC=malloc python3 "$work/words.py"
fits perl perl -e 'my %h; $h{$_} = $_ x 5 for 1 .. 200000; print scalar keys %h'
fits sort sort -n --parallel=2 -S 64M "$work/numbers"
command -v g++ >/dev/null && fits g++ g++ -O1 -c "$root/tests/programs/cxx_hello.cc" -o /dev/null
finish
