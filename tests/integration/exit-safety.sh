#!/bin/bash
# The report harms no end of a process: little stack, a pending cancellation, descriptors that became
# the program's own, a reader that never reads, forbidden system calls, a reader that waits.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

small_stack=$(program small_stack_exit) && cancelled=$(program cancelled_exit) &&
    reuse_fds=$(program reuse_fds) && full_stderr=$(program full_stderr) &&
    seccomp=$(program seccomp_exit) && to_null=$(program to_null) || exit 1

# As `under`; the policy "plain" is no library at all.
under_or_plain() { # POLICY NAME=VALUE... COMMAND...
    if [ "$1" = plain ]; then
        shift
        timeout --foreground "${limit_s:-60}" env "$@"
    else
        under "$@"
    fi
}

# Runs a command without the library and under every policy with text and JSON reports.
same_status() { # LABEL STATUS COMMAND...
    local label=$1 status=$2 policy rc
    shift 2
    "$@" >"$work/out" 2>&1
    rc=$?
    [ $rc -eq "$status" ] || {
        echo "$label: status $rc without the library, so that part is left out"
        return
    }
    for policy in "${policies[@]}"; do
        rm -f "$work/report"
        under "$policy" XSIGMA_STATS=1 -- "$@" >"$work/out" 2>"$work/err"
        rc=$?
        [ $rc -eq "$status" ] || fail "$policy: $label: status $rc, not $status"
        [ -s "$work/out" ] && fail "$policy: $label: standard output: $(head -n 3 "$work/out")"
        under "$policy" XSIGMA_STATS=1 XSIGMA_STATS_FORMAT=json "XSIGMA_STATS_FILE=$work/report" -- "$@" >"$work/out" 2>"$work/err"
        rc=$?
        [ $rc -eq "$status" ] || fail "$policy: $label, JSON: status $rc, not $status"
    done
}
same_status "_exit on a small signal stack" 3 "$small_stack" 3
same_status "_exit with a cancellation pending" 5 "$cancelled" 5
same_status "exit under a seccomp filter by prctl" 7 "$seccomp" prctl 7
same_status "exit under a seccomp filter by seccomp" 7 "$seccomp" seccomp 7

# The numbers 0, 1 and 2 are the program's data: a report that cannot be written stays out of them.
for policy in plain "${policies[@]}"; do
    rm -f "$work"/data.?
    under_or_plain "$policy" XSIGMA_STATS=1 XSIGMA_STATS_FILE=/nonexistent/x "$reuse_fds" "$work"/data.{0,1,2} >/dev/null 2>&1 ||
        fail "$policy: reuse_fds: status $?"
    for n in 0 1 2; do
        [ "$(cat "$work/data.$n" 2>&1)" = data ] || {
            fail "$policy: a line of ours in the program's file $n"
            head -n 5 "$work/data.$n"
        }
    done
done

# Nobody reads standard error: the report is given up after a while, timer or not.
impatient() { # POLICY HOW
    local started=$EPOCHREALTIME rc
    limit_s=8 under_or_plain "$1" XSIGMA_STATS=1 "$full_stderr" "$2"
    rc=$?
    local ms=$(((${EPOCHREALTIME/./} - ${started/./}) / 1000))
    if [ $rc -ne 0 ] || [ $ms -ge 6000 ]; then
        echo "a full pipe as standard error, $2: status $rc after $ms ms"
    fi
}

# A reader of the program's output sees its end when the program lets go of it. No timeout(1) here:
# it would hold the pipe itself.
lets_go() { # POLICY
    local started=$EPOCHREALTIME preload=$lib route_here='' ended
    case $1 in
        route) route_here=$route ;;
        plain) preload='' ;;
        *) route_here="*:$1" ;;
    esac
    env "LD_PRELOAD=$preload" "XSIGMA_CPU_ROUTE=$route_here" "$to_null" 2000 2>&1 | {
        cat >"$work/read.$1"
        ended=$EPOCHREALTIME
        local ms=$(((${ended/./} - ${started/./}) / 1000))
        [ $ms -lt 1000 ] || echo "the reader saw the end after $ms ms"
        [ "$(cat "$work/read.$1")" = "service started" ] || echo "the reader read: $(head -n 3 "$work/read.$1")"
    }
}
# They mostly wait, so all wait together.
for policy in plain "${policies[@]}"; do
    for how in interrupt restart; do
        impatient "$policy" $how >"$work/said.$policy.$how" 2>&1 &
    done
    lets_go "$policy" >"$work/said.$policy.null" 2>&1 &
done
wait
for said in "$work"/said.*; do
    [ -s "$said" ] && fail "${said##*/said.}: $(cat "$said")"
done
finish
