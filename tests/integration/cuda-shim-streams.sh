#!/bin/bash
# A block that was freed is handed out again without a wait as long as only the legacy stream was used,
# and no longer once a call was made on another: on one that was made, on CU_STREAM_PER_THREAD, whatever
# the call and however it was found, or by a form of a call for per-thread default streams.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
fakes=$build/tests/cuda
[ -x "$fakes/sign-linked" ] || skip "the fakes are not built: make tests"
export LD_LIBRARY_PATH=$fakes FAKE_CUDA_COUNTS=$work/counts
sign=$(program cuda_sign) || exit 1

# Does the free wait? The driver is asked to wait for the context only then.
check() { # WANTED WAY CALL STREAM
    local wanted=$1 program=$sign got
    shift
    [ "$1" = link ] && program=$fakes/sign-linked
    rm -f "$work/counts"
    got=$(under bfc XSIGMA_STATS_FILE="$work/report.json" XSIGMA_GPU_FREE=strict "$program" "$@" 2>"$work/err")
    [ "$got" = ok ] || { fail "$*: $got $(cat "$work/err")"; return; }
    [ "$(json_get "$work/report.json" 'gpu[0].hits')" = 1 ] || fail "$*: the freed block was not handed out again"
    got=$(json_get "$work/report.json" 'gpu[0].syncs')
    if [ "$wanted" = alone ]; then
        [ "$got" = 0 ] || fail "$*: $got waits for what only the legacy stream used"
    else
        [ "${got:-0}" -ge 1 ] || fail "$*: no wait though another stream was used"
    fi
    checks=$((checks + 1))
}
checks=0
for way in link dlsym entry; do
    check alone $way none 0
    check alone $way cuMemFree_v2 2
    check other $way none new
    for call in $("$sign" calls); do
        check alone $way "$call" 0
        check alone $way "$call" 1
        check other $way "$call" 2
    done
    [ $way = entry ] && continue # the name without a form means the plain one
    check other $way cuMemsetD8Async_ptsz 0
    check other $way cuMemcpy_ptds 0
done
# Being looked up is no sign: the runtime looks up all. A call is.
check alone entry-thread none 0
for call in $("$sign" calls) cuMemcpy_ptds; do
    check other entry-thread "$call" 0
done
for kind in shared static; do
    under bfc XSIGMA_STATS_FILE="$work/report.json" "$fakes/client-$kind" 3 >/dev/null 2>&1
    [ "$(json_get "$work/report.json" 'gpu[0].syncs')" = 0 ] || fail "client-$kind: waits for the legacy stream alone"
done
under bfc XSIGMA_STATS_FILE="$work/report.json" "$fakes/client-per-thread" 3 >/dev/null 2>&1
[ "$(json_get "$work/report.json" 'gpu[0].syncs')" -ge 1 ] || fail "client-per-thread: no wait"
echo "$checks programs"
finish
