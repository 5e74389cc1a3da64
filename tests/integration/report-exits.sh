#!/bin/bash
# The report comes whichever way a process ends, harms no output, and goes where it should.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

how=$(program how_exit) || exit 1
has_report() {
    grep -q '^xsigma [0-9]' "$1"
}
ends() { # LABEL STATUS STDOUT COMMAND...
    local label=$1 status=$2 output=$3 rc
    shift 3
    under mimalloc -- "$@" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    [ $rc -eq "$status" ] || fail "$label: status $rc, not $status"
    [ "$(cat "$work/out")" = "$output" ] || fail "$label: standard output: $(head -n 3 "$work/out")"
    has_report "$work/err" || {
        fail "$label: no report; standard error:"
        head -n 5 "$work/err"
    }
    [ "$(grep -c '^xsigma [0-9]' "$work/err")" -le 1 ] || fail "$label: more than one report"
}
ends return 5 output "$how" return 5
for way in exit _exit _Exit quick_exit; do
    ends $way 0 output "$how" $way 0
    ends "$way 7" 7 output "$how" $way 7
done
# timeout, as env, passes the signal on as 128 + 6.
ends abort 134 output "$how" abort
printf '3\n1\n2\n' >"$work/unsorted"
ends sort 0 $'1\n2\n3' sort "$work/unsorted"
ends ls 0 "$work/unsorted" ls "$work/unsorted"
ends cat 0 $'3\n1\n2' cat "$work/unsorted"
ends "sh -c" 4 hello sh -c 'echo hello; exit 4'
ends "a shell's builtin, then exec" 0 $'3\n1\n2' sh -c "exec cat $work/unsorted"
if command -v python3 >/dev/null; then
    ends "os._exit" 9 text python3 -c 'import os; os.write(1, b"text\n"); os._exit(9)'
    ends "python" 0 text python3 -c 'print("text")'
    ends "sys.exit in a thread pool" 6 "" python3 -c '
import sys, concurrent.futures as f
f.ThreadPoolExecutor(4).map(len, ["a"] * 10)
sys.exit(6)'
fi
# The signal of abort stays SIGABRT: this shell sees it as the child's own end.
{ (ulimit -c 0; LD_PRELOAD=$lib exec "$how" abort) >/dev/null 2>&1; rc=$?; } 2>/dev/null
[ $rc -eq 134 ] || fail "abort ends with status $rc"

# Standard error is a pipe that nobody reads any more: no SIGPIPE, the status stays.
for way in return _exit quick_exit; do
    # shellcheck disable=SC2016 # expanded by the inner shell
    bash -c '{ sleep 0.3; LD_PRELOAD=$1 XSIGMA_STATS=1 "$2" "$3" 5 >"$4/out" 2>&3; echo $? >"$4/rc"; } 3>&1 >/dev/null | true' \
        bash "$lib" "$how" $way "$work"
    [ "$(cat "$work/rc")" = 5 ] || fail "a broken pipe for standard error, $way: status $(cat "$work/rc")"
    [ "$(cat "$work/out")" = output ] || fail "a broken pipe for standard error, $way: output lost"
done

# Standard error closed by the caller, or by the program before its end.
LD_PRELOAD=$lib "$how" return 5 >"$work/out" 2>&-
{ [ $? -eq 5 ] && [ "$(cat "$work/out")" = output ]; } || fail "standard error closed: status or output"
LD_PRELOAD=$lib "$how" return 5 >"$work/out" 2>&- <&-
{ [ $? -eq 5 ] && [ "$(cat "$work/out")" = output ]; } || fail "standard input and error closed: status or output"

# The same file for both: under auto the report may not mix with the output.
under system -- "$how" return 0 >"$work/both" 2>&1
[ "$(cat "$work/both")" = output ] || fail "stdout and stderr the same file: $(head -n 3 "$work/both")"
under system -- "$how" return 0 2>&1 | cat >"$work/both"
[ "$(cat "$work/both")" = output ] || fail "stdout and stderr the same pipe: $(head -n 3 "$work/both")"
# Such a report lies beside the records, or in /dev/shm where that cannot be.
has_report "$work/records/xsigma-$(id -u)/how_exit.txt" || fail "no report beside the records: $(ls -R "$work/records")"
cp "$how" "$work/xs-how-$$"
for where in /nonexistent off; do
    under system XSIGMA_RECORD=$where XSIGMA_LOG=off -- "$work/xs-how-$$" return 0 >"$work/both" 2>&1
    [ "$(cat "$work/both")" = output ] || fail "stdout and stderr the same file, records in $where: $(head -n 3 "$work/both")"
    [ ! -w /dev/shm ] || has_report "/dev/shm/xsigma-$(id -u)/xs-how-$$.txt" || fail "no report in /dev/shm, records in $where"
    rm -f "/dev/shm/xsigma-$(id -u)/xs-how-$$.txt"
    rmdir "/dev/shm/xsigma-$(id -u)" 2>/dev/null
done
under system XSIGMA_STATS=1 -- "$how" return 0 >"$work/both" 2>&1
has_report "$work/both" || fail "XSIGMA_STATS=1 with stdout and stderr the same file: no report"
under system XSIGMA_STATS=0 -- "$how" return 0 >"$work/out" 2>"$work/err"
[ -s "$work/err" ] && fail "XSIGMA_STATS=0 prints: $(head -n 2 "$work/err")"

# A caller that waits for the end of standard error does not wait for a program left behind.
started=$SECONDS
out=$(under system -- sh -c 'sleep 6 >/dev/null 2>&1 & echo started' 2>&1)
[ $((SECONDS - started)) -lt 5 ] || fail "a child left behind holds the caller's standard error open"
[[ $out == started* ]] || fail "the output of a shell that leaves a child: $out"
# Names relative to the directory that a program is started in, which it leaves.
mkdir -p "$work/start/records" "$work/elsewhere"
(cd "$work/start" && XSIGMA_RECORD=records XSIGMA_STATS_FILE=report-%p.txt LD_PRELOAD=$lib \
    bash -c "cd '$work/elsewhere' && x=\$(printf '%0300000d' 7) && echo \${#x}" >/dev/null 2>"$work/err")
has_report "$work"/start/report-*.txt || fail "no report where the program was started: $(ls "$work/start" "$work/elsewhere")"
left=$(find "$work/start/records" "$work/elsewhere" -type f)
[ -z "$left" ] || fail "left behind by a program that went elsewhere: $left"
[ ! -s "$work/err" ] || fail "a program that went elsewhere: $(cat "$work/err")"

finish
