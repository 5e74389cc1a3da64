#!/bin/bash
# A record that cannot be made, or cannot grow, is never in the program's way: one line at most.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

ends=$(program ends) || exit 1
storm=$(program thread_storm) || exit 1
tool=$build/xsigma

# LINES: how many of them the library may print. The report itself goes elsewhere.
plain=$("$ends" return 1000; echo "status $?")
quietly() { # LABEL LINES COMMAND...
    local label=$1 lines=$2 out n
    shift 2
    rm -f "$work/report"
    out=$("$@" 2>"$work/err"; echo "status $?")
    [ "$out" = "$plain" ] || fail "$label: $out instead of $plain: $(head -n 3 "$work/err")"
    n=$(wc -l <"$work/err")
    [ "$n" -le "$lines" ] || fail "$label: $n lines instead of $lines: $(head -n 5 "$work/err")"
    [ "$lines" -eq 0 ] || grep -q 'no record in' "$work/err" || fail "$label: not said: $(cat "$work/err")"
    grep -q '^xsigma [0-9]' "$work/report" || fail "$label: no report"
}
with() { # NAME=VALUE... COMMAND...
    env LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$work/report" "$@"
}
quietly "no such directory" 1 with XSIGMA_RECORD=/nonexistent "$ends" return 1000
quietly "off" 0 with XSIGMA_RECORD=off "$ends" return 1000
quietly "a file for a directory" 1 with XSIGMA_RECORD=/etc/passwd "$ends" return 1000
touch "$work/target"
quietly "too long a name" 1 with XSIGMA_RECORD="/tmp/$(printf 'x%.0s' $(seq 300))" "$ends" return 1000
if [ "$(id -u)" -ne 0 ]; then
    mkdir -m 500 "$work/readonly"
    quietly "a directory that may not be written to" 1 with XSIGMA_RECORD="$work/readonly" "$ends" return 1000
else
    quietly "a directory that may not be written to" 1 with XSIGMA_RECORD=/proc "$ends" return 1000
fi
# No file may become so large: SIGXFSZ would end the program. The report has no room either.
mkdir "$work/limited"
out=$(ulimit -f 4; LD_PRELOAD=$lib XSIGMA_RECORD=$work/limited XSIGMA_STATS=0 "$ends" return 1000; echo "status $?")
[ "$out" = "$plain" ] || fail "ulimit -f 4, off: $out"
out=$(ulimit -f 4; LD_PRELOAD=$lib XSIGMA_RECORD=$work/limited XSIGMA_STATS=1 "$ends" return 1000 2>"$work/err"; echo "status $?")
[ "$out" = "$plain" ] || fail "ulimit -f 4: $out"
grep -q 'no record in' "$work/err" || fail "ulimit -f 4: not said"
[ -z "$(ls "$work/limited")" ] || fail "ulimit -f 4: left over: $(ls "$work/limited")"

# A file system that fills up: at the start, and while threads come and want room.
mkdir "$work/full"
if mount -t tmpfs -o size=16k tmpfs "$work/full" 2>/dev/null; then
    quietly "a full file system" 1 with XSIGMA_RECORD="$work/full" "$ends" return 1000
    [ -z "$(ls "$work/full")" ] || fail "a full file system: left over: $(ls "$work/full")"
    umount "$work/full"
    mount -t tmpfs -o size=56k tmpfs "$work/full"
    out=$(with XSIGMA_RECORD="$work/full" "$storm" 2>&1) || fail "a file system that fills up: $out"
    umount "$work/full"
    # What found no room is said to be missing.
    mount -t tmpfs -o size=64k tmpfs "$work/full"
    (export LD_PRELOAD=$lib XSIGMA_RECORD=$work/full XSIGMA_STATS_FILE=$work/report
     exec "$storm" 1000000) >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 200); do
        XSIGMA_RECORD=$work/full "$tool" report --json $pid 2>/dev/null | grep -q '"not_recorded": [1-9]' && break
        sleep 0.1
    done
    kill -9 $pid
    wait $pid 2>/dev/null
    "$tool" report --json "$work/full" >"$work/out" 2>&1 || fail "no record after a storm of threads: $(cat "$work/out")"
    grep -q '"not_recorded": [1-9]' "$work/out" || fail "what is missing is not said: $(grep not_recorded "$work/out")"
    umount "$work/full"
else
    echo "no tmpfs may be mounted here: a full one was not tried"
fi

# Damaged records are refused with a line, or read as far as they go.
(export LD_PRELOAD=$lib XSIGMA_RECORD=$work/records; exec "$ends" kill 5000) 2>/dev/null &
pid=$!
wait $pid 2>/dev/null
record=$work/records/xsigma-$(id -u)-$pid
for bytes in 0 7 100 4096 16384 20000 30000; do
    head -c $bytes "$record" >"$work/short.xsr"
    timeout 10 "$tool" report "$work/short.xsr" >"$work/out" 2>&1
    rc=$?
    [ $rc -le 1 ] || fail "a record of $bytes bytes: status $rc"
    [ $rc -eq 0 ] || grep -q '^xsigma: ' "$work/out" || fail "a record of $bytes bytes: no message"
done
head -c 5000 /dev/urandom >"$work/noise"
printf 'xsigma\na' | cat - "$work/noise" >"$work/records/bad.xsr"
for file in "$work/noise" "$work/records/bad.xsr" /etc/passwd /dev/null; do
    timeout 10 "$tool" report "$file" >"$work/out" 2>&1
    [ $? -eq 1 ] || fail "$file: not refused"
done
# Another user could put a link there.
ln -s /etc/passwd "$work/records/xsigma-$(id -u)-1"
XSIGMA_RECORD=$work/records "$tool" report 1 >"$work/out" 2>&1 && fail "a link was followed"
finish
