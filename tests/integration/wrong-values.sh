#!/bin/bash
# Wrong values and places that cannot be written: one line each, that helps; the program unharmed.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

# POLICY is in the settings; every run prints "output" and status 3 whatever is wrong.
wrong() { # LABEL PATTERN SETTING...
    local label=$1 pattern=$2 rc
    shift 2
    under none "$@" -- sh -c 'echo output; exit 3' >"$work/out" 2>"$work/err"
    rc=$?
    [ $rc -eq 3 ] || fail "$label: status $rc, not 3"
    [ "$(cat "$work/out")" = output ] || fail "$label: the output is: $(cat "$work/out")"
    if [ "$(wc -l <"$work/err")" -ne 1 ] || ! grep -qE "$pattern" "$work/err"; then
        fail "$label: wanted one line with $pattern, got:"
        cat "$work/err"
    fi
}
off=XSIGMA_STATS=0
wrong "a back end's name" 'XSIGMA_CPU_BACKEND.*mimaloc.*mimalloc' XSIGMA_CPU_BACKEND=mimaloc $off
wrong "a route" 'XSIGMA_CPU_ROUTE.*<=x.*:' 'XSIGMA_CPU_ROUTE=<=x' $off
wrong "a route to nowhere" 'XSIGMA_CPU_ROUTE.*nowhere' 'XSIGMA_CPU_ROUTE=<=64K:nowhere,*:system' $off
wrong "a name" 'XSIGMA_STAT([^S_]|$).*XSIGMA_STATS' XSIGMA_STAT=1 $off
wrong "a value of XSIGMA_STATS" 'XSIGMA_STATS.*banana.*auto' XSIGMA_STATS=banana "XSIGMA_STATS_FILE=$work/report"
wrong "a boolean" 'XSIGMA_VERBOSE.*maybe' XSIGMA_VERBOSE=maybe $off
wrong "a boolean of the GPU part" 'XSIGMA_GPU_PREFETCH_BACK.*maybe' XSIGMA_GPU_PREFETCH_BACK=maybe $off
wrong "a size" 'XSIGMA_CPU_ALIGN.*48' XSIGMA_CPU_ALIGN=48 $off
wrong "a size's unit" 'XSIGMA_CPU_ALIGN.*64Q' XSIGMA_CPU_ALIGN=64Q $off
wrong "a negative size" 'XSIGMA_CPU_ALIGN.*-64' XSIGMA_CPU_ALIGN=-64 $off
wrong "what a terminal would obey" 'XSIGMA_CPU_ALIGN=4\?8\?\[31m is' "XSIGMA_CPU_ALIGN=4"$'\n'"8"$'\033[31m' $off
wrong "a preset" 'XSIGMA_PRESET.*monte-carlo' XSIGMA_PRESET=monte_carlo $off
wrong "a node that is not there" 'XSIGMA_CPU_NUMA=bind:63.*ENODEV.*off' XSIGMA_CPU_NUMA=bind:63 $off
wrong "a configuration file that is not there" "$work/nofile" "XSIGMA_CONFIG=$work/nofile" $off
printf 'XSIGMA_CPU_BACKEND=mimaloc\n' >"$work/config"
wrong "a value in a file" 'mimaloc.*mimalloc' "XSIGMA_CONFIG=$work/config" $off

# A report that cannot be written.
wrong "no such directory" '/nonexistent/dir/report' XSIGMA_STATS_FILE=/nonexistent/dir/report
wrong "a directory" "$work" "XSIGMA_STATS_FILE=$work"
[ -w /dev/full ] && wrong "a full disk" '/dev/full' XSIGMA_STATS_FILE=/dev/full
[ -w /dev/full ] && wrong "a full disk, as JSON" '/dev/full' XSIGMA_STATS_FILE=/dev/full XSIGMA_STATS_FORMAT=json
# Programs of coreutils close stderr before they end.
under none XSIGMA_STATS_FILE=/nonexistent/report -- ls / >/dev/null 2>"$work/err"
grep -q '/nonexistent/report (ENOENT)' "$work/err" || fail "a report that cannot be written, and stderr is closed: $(cat "$work/err")"
# A log is opened when there is something to say, so here one line says that and one says why here.
under none XSIGMA_LOG=/nonexistent/log $off XSIGMA_VERBOSE=1 -- echo output >"$work/out" 2>"$work/err"
{ [ "$(grep -c '/nonexistent/log cannot' "$work/err")" -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 2 ]; } || {
    fail "a log that cannot be written: wanted two lines, got:"
    cat "$work/err"
}
[ "$(cat "$work/out")" = output ] || fail "a log that cannot be written: the output is lost"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
    cp "$lib" "$work/lib.so" && chmod 755 "$work" "$work/lib.so"
    mkdir -m 700 "$work/closed"
    lib=$work/lib.so under none "XSIGMA_STATS_FILE=$work/closed/report" -- \
        setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'echo output; exit 3' >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = output ] && [ "$(wc -l <"$work/err")" -eq 1 ] &&
        grep -q "$work/closed/report" "$work/err"; } || {
        fail "an unwritable file: status $rc, wanted one line, got:"
        cat "$work/err"
    }
fi

# Strict: status 78 before main.
for setting in XSIGMA_CPU_BACKEND=mimaloc 'XSIGMA_CPU_ROUTE=<=x' XSIGMA_STAT=1; do
    under none XSIGMA_STRICT=1 "$setting" -- sh -c 'echo output; exit 3' >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 78 ] && [ ! -s "$work/out" ]; } || fail "XSIGMA_STRICT=1 $setting: status $rc, output $(cat "$work/out")"
done

# Standard output full: the program's own message and status, as without the library.
if [ -w /dev/full ]; then
    ls / >/dev/full 2>"$work/plain"
    plain=$?
    under none "$off" -- ls / >/dev/full 2>"$work/err"
    { [ $? -eq $plain ] && cmp -s "$work/plain" "$work/err"; } || fail "ls to a full disk: status or message differ"
fi
finish
