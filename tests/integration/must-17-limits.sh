#!/bin/bash
# A limit on address space or on private memory, and mlockall, as batch systems and real-time programs use them.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need setpriv

limited=$(program limited) && lock_memory=$(program lock_memory) || exit 1
for policy in "${policies[@]}"; do
    for settings in XSIGMA_STATS=auto XSIGMA_STATS=0; do
        out=$(ulimit -v 500000 && under "$policy" "$settings" "$limited" 200 2>"$work/err")
        [ "$out" = fits ] || {
            fail "$policy $settings: 200 MiB under ulimit -v 500000: $out"
            head -n 5 "$work/err"
        }
        (ulimit -v 500000 && under "$policy" "$settings" -- ls / >/dev/null 2>&1) ||
            fail "$policy $settings: ls under ulimit -v 500000"
        # What a back end takes ahead the stacks of threads lack, and mimalloc dies of memory that
        # is refused when it comes to use it. oneTBB has 13 MiB before anybody asks.
        least='-d50 -v58'
        [[ ! $policy =~ tbb|route ]] || least='-d70 -v80'
        for limit in $least -d100 -d200 -d400; do
            out=$(ulimit "${limit:0:2}" $((${limit:2} * 1024)) &&
                under "$policy" "$settings" "$limited" 14 3 2>"$work/err")
            [ "$out" = fits ] || {
                fail "$policy $settings: 14 MiB and 3 stacks under ulimit $limit MiB: $out"
                head -n 5 "$work/err"
            }
        done
    done
done

# A small program of glibc's fits into the limit too, so a failure is the library's.
locked() { # LABEL COMMAND...
    local label=$1 out
    shift
    out=$("$@" 2>"$work/err")
    [ "$out" = locked ] || {
        fail "mlockall, $label: $out"
        head -n 5 "$work/err"
    }
}
if [ "$("$lock_memory")" = locked ]; then
    for policy in "${policies[@]}"; do
        locked "$policy" under "$policy" "$lock_memory"
    done
fi
# Without privileges what is locked counts, a reservation included, so that is switched off.
if [ "$(id -u)" -eq 0 ]; then
    cp "$lib" "$work/lib.so" && cp "$lock_memory" "$work/lock_memory" && chmod 755 "$work" "$work"/l*
    lib=$work/lib.so
    as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$work/lock_memory")
    # mimalloc and oneTBB take memory in segments of many MiB, which the usual limit does not hold.
    able=(system)
    ulimit -l 1000000 2>/dev/null && able=("${policies[@]}")
    if [ "$("${as_nobody[@]}")" = locked ]; then
        for policy in "${able[@]}"; do
            locked "$policy as nobody" under "$policy" XSIGMA_RESERVE=off "${as_nobody[@]}"
        done
    fi
fi
# Where the number of threads is limited, the program gets as many as without us. Root alone can become
# a user who has no other process.
if [ "$(id -u)" -eq 0 ]; then
    threads_most=$(program threads_most) || exit 1
    for limit in 1 2 3 12; do
        most=$("$threads_most" "$limit")
        for policy in "${policies[@]}"; do
            out=$(under "$policy" XSIGMA_STATS=0 "$threads_most" "$limit" 2>&1)
            [ "$out" = "$most" ] || fail "$policy: $out threads where $limit are allowed, $most without us"
        done
    done
fi

finish
