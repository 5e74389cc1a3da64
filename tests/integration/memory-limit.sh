#!/bin/bash
# XSIGMA_MEMORY_LIMIT over back ends, RLIMIT_AS set by a running program, XSIGMA_PREFAULT and its cost,
# and memory that goes back before a storm of forks.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

heavy=$(program cache_heavy) && later=$(program limited_later) && storm=$(program fork_storm) || exit 1

for policy in bfc mimalloc tbb; do
    have_backend $policy || continue
    out=$(under $policy XSIGMA_MEMORY_LIMIT=256M XSIGMA_STATS_FILE="$work/r.json" -- "$heavy" 20 150 2 2>"$work/err")
    [ "$? $out" = '0 ok' ] || fail "$policy: 170 MiB in 256: $out; $(cat "$work/err")"
    peak=$(json_get "$work/r.json" cpu.memory_pages.charged_peak_bytes)
    { [ "$peak" -gt $((150 << 20)) ] && [ "$peak" -le $((256 << 20)) ]; } || fail "$policy: charged $peak"
    out=$(under $policy XSIGMA_MEMORY_LIMIT=256M XSIGMA_STATS=0 -- "$heavy" 20 600 1 2>"$work/err")
    [ "$? $out" = '4 round 0' ] || fail "$policy: 620 MiB in 256: $out"
    who=$policy
    [ $policy != bfc ] || who='bfc in use'
    grep -q "out of memory: an allocation of .* returns NULL; XSIGMA_MEMORY_LIMIT=256 MiB; .*$who [0-9]" "$work/err" ||
        fail "$policy: no last word: $(cat "$work/err")"
    [ "$(grep -c 'out of memory' "$work/err")" = 1 ] || fail "$policy: more than one last word"
done
# Where a back end takes too much at a time for the limit, no other one serves without it.
for policy in mimalloc tbb; do
    have_backend $policy || continue
    out=$(under $policy XSIGMA_MEMORY_LIMIT=30M XSIGMA_STATS=0 -- "$heavy" 5 80 1 2>"$work/err")
    [ "$? $out" = '4 round 0' ] || fail "$policy: 85 MiB in 30: $out"
    grep -q "$policy is not available, using bfc" "$work/err" || fail "$policy in 30 MiB: $(cat "$work/err")"
done
# By whom what was refused, where a limit of the system's does it.
for policy in system bfc mimalloc tbb; do
    have_backend $policy || continue
    (ulimit -v 1000000 && under $policy -- "$heavy" 20 1200 1) >/dev/null 2>"$work/err"
    grep -q 'out of memory: .* returns NULL; ulimit -v or -d is 977 MiB;' "$work/err" || fail "$policy, ulimit -v: $(grep xsigma: "$work/err")"
done
# What the back end that serves knows nothing of is told, and only where it was asked for.
vain() { # BACKEND SETTING WORDS
    under "$1" XSIGMA_STATS=0 "$2" -- true 2>"$work/err"
    grep -q "${2%%=*}=.* is of no effect $3" "$work/err" || fail "$1 $2: no word: $(cat "$work/err")"
    under bfc XSIGMA_STATS=0 "$2" -- true 2>"$work/err"
    ! grep -q 'no effect' "$work/err" || fail "bfc $2: $(cat "$work/err")"
}
vain system XSIGMA_MEMORY_LIMIT=1G 'on the back end system'
vain system XSIGMA_PREFAULT=4M 'without the back end bfc'
vain system XSIGMA_RESERVE_HUGE_PAGES=2M 'without'
vain system XSIGMA_CPU_HUGE_PAGES=thp 'with the back end system'
vain system XSIGMA_PRESSURE_WARN=80% 'with the back end system'
out=$(under system XSIGMA_STATS=0 XSIGMA_PRESET=pde XSIGMA_CPU_HUGE_PAGES=auto -- true 2>&1)
[ -z "$out" ] || fail "system with a preset: $out"
# A parent may read its child's stderr, as Tcl's exec does.
child() { # SETTINGS...
    # shellcheck disable=SC2016 # the inner shell's
    under bfc XSIGMA_MEMORY_LIMIT=256M XSIGMA_STATS=0 "$@" -- sh -c '"$1" 20 600 1 2>&1; exit $?' - "$heavy"
}
[ "$(child)" = 'round 0' ] || fail "a child's last word is in its output: $(child)"
child XSIGMA_LOG=stderr | grep -q 'out of memory' || fail "no last word of a child with XSIGMA_LOG"

read -r glibc_mib _ < <("$later" 300)
read -r mib refused again < <(under bfc XSIGMA_STATS=0 -- "$later" 300 2>/dev/null)
echo "RLIMIT_AS: $mib MiB of 100,000 bytes each, glibc $glibc_mib"
{ [ "$mib" -ge $((glibc_mib * 9 / 10)) ] && [ "$refused $again" = '1 1' ]; } || fail "RLIMIT_AS set late: $mib $refused $again"
read -r mib refused again < <(ulimit -v 500000 && under bfc XSIGMA_STATS=0 -- "$later" 200 2>/dev/null)
{ [ "$mib" -ge 170 ] && [ "$refused $again" = '1 1' ]; } || fail "RLIMIT_AS set twice: $mib $refused $again"

under bfc XSIGMA_PREFAULT=64M XSIGMA_STATS_FILE="$work/r.json" -- "$heavy" 1 20 1 >/dev/null || fail "prefault"
got=$(json_get "$work/r.json" cpu.memory_pages.prefault_bytes)
took=$(json_get "$work/r.json" cpu.memory_pages.prefault_ns)
echo "prefault: $got bytes in $took ns"
{ [ "$got" = $((64 << 20)) ] && [ "$took" -gt 0 ]; } || fail "prefault: $got bytes in $took ns"
# Beyond what there is to be had: as much as that, and a line.
beyond() { # LIMIT_MIB SETTINGS...
    local limit=$1
    shift
    under bfc "$@" XSIGMA_PREFAULT=100M XSIGMA_STATS_FILE="$work/r.json" -- "$heavy" 1 20 1 >"$work/out" 2>"$work/err" || fail "prefault, $*: status $?"
    got=$(json_get "$work/r.json" cpu.memory_pages.prefault_bytes)
    { [ "$got" -gt $((limit << 19)) ] && [ "$got" -le $((limit << 20)) ]; } || fail "prefault, $*: $got bytes"
    [ "$(json_get "$work/r.json" cpu.memory_pages.charged_peak_bytes)" -le $((limit << 20)) ] || fail "prefault, $*: beyond the limit"
    [ "$(grep -c 'XSIGMA_PREFAULT=100M: there are' "$work/err")" = 1 ] || fail "prefault, $*: $(cat "$work/err")"
}
beyond 50 XSIGMA_MEMORY_LIMIT=50M
beyond 50 XSIGMA_BFC_LIMIT=50M
# Locked: the kernel says so, and where it may not be locked the memory is there all the same.
if [ "$(id -u)" -eq 0 ] || [ "$(ulimit -l)" = unlimited ]; then
    kib=$(under bfc XSIGMA_PREFAULT=16M XSIGMA_PREFAULT_LOCK=1 XSIGMA_STATS_FILE="$work/l.json" -- \
        sed -nE 's/^VmLck:[^0-9]*([0-9]+).*/\1/p' /proc/self/status)
    got=$(json_get "$work/l.json" cpu.memory_pages.prefault_locked_bytes)
    { [ "$kib" -ge 16384 ] && [ "$got" = $((16 << 20)) ]; } || fail "prefaulted, locked: $kib KiB are, the report says $got"
fi
[ "$(under bfc XSIGMA_PREFAULT=16M XSIGMA_STATS=0 -- sed -nE 's/^VmLck:[^0-9]*([0-9]+).*/\1/p' /proc/self/status)" = 0 ] ||
    fail "locked without being asked"
if command -v setpriv >/dev/null && [ "$(id -u)" -eq 0 ]; then
    cp "$lib" "$work/lib.so" && chmod 755 "$work" "$work/lib.so"
    n=$(ulimit -l 64 && lib=$work/lib.so under bfc XSIGMA_PREFAULT=16M XSIGMA_PREFAULT_LOCK=1 XSIGMA_STATS=0 -- \
        setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all \
        sed -nE 's/^VmLck:[^0-9]*([0-9]+).*/\1/p; s/^VmRSS:[^0-9]*([0-9]+).*/\1/p' /proc/self/status 2>"$work/err" | tr '\n' ' ')
    read -r lck rss <<<"$n"
    grep -q 'XSIGMA_PREFAULT_LOCK=1 is of no effect under this ulimit -l' "$work/err" || fail "may not lock: $(cat "$work/err")"
    { [ "$lck" = 0 ] && [ "$rss" -gt 16384 ]; } || fail "may not lock: $lck KiB locked, $rss resident"
fi
# No page fault for memory that is there: of 20 MiB there would be 5,120.
faults() { # SETTINGS...
    under bfc XSIGMA_STATS=0 "$@" -- python3 -c 'import ctypes, resource
n = 20 << 20
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
p = libc.malloc(ctypes.c_size_t(n))
ctypes.memset(p, 1, n)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)'
}
without=$(faults A=1)
with=$(faults XSIGMA_PREFAULT=64M)
echo "page faults of 20 MiB: $without, prefaulted $with"
{ [ "$without" -gt 4000 ] && [ "$with" -lt 200 ]; } || fail "page faults: $without, $with"

read -r full kept < <(under bfc XSIGMA_STATS=0 XSIGMA_CPU_DECAY=60min -- "$storm" 2>/dev/null)
echo "forks: $full KiB, after them $kept"
{ [ "$full" -gt 60000 ] && [ "$kept" -lt 20000 ]; } || fail "a storm of forks leaves $kept of $full KiB"
finish
