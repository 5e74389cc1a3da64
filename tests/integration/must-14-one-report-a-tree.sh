#!/bin/bash
# The root of the process tree reports, once; its children do not.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

spawn_child=$(program spawn_child) || exit 1
reports() { # LABEL COUNT COMMAND...
    local label=$1 want=$2 got
    shift 2
    under system "$@" >"$work/out" 2>"$work/err"
    got=$(grep -c '^xsigma [0-9]' "$work/err")
    if [ "$got" -ne "$want" ]; then
        fail "$label: $got reports, not $want"
        cat "$work/err"
    fi
}
reports "sh -c :" 1 -- sh -c :
reports "sh -c with a child" 1 -- sh -c 'ls / >/dev/null; true'
reports "sh -c that becomes its command" 1 -- sh -c 'exec ls /'
reports "subshells and a pipe" 1 -- sh -c '(ls /) | (cat; ls /) | cat; true'
reports "posix_spawn" 1 -- "$spawn_child" ls /
reports "posix_spawn of a shell" 1 -- "$spawn_child" sh -c 'ls /; ls /'
reports "a child that stays behind" 1 -- sh -c 'sleep 0.3 >/dev/null 2>&1 & exit 0'
# Programs write over their arguments and the environment behind them, which /proc then shows.
if command -v perl >/dev/null; then
    # shellcheck disable=SC2016 # perl's
    reports "a parent that wrote over its environment" 1 -- perl -e '$0 = "x" x 6000; exit system("ls / >/dev/null; true")'
fi
# The parent of what stays behind is init, or whoever collects orphans.
for command in /bin/ls '/bin/ls | /bin/cat' '(/bin/ls; /bin/ls)'; do
    { # all have ended when the pipe has: the last report is in the file
        under system -- sh -c "(sleep .3; $command >/dev/null) & exit 0" 2>"$work/err" 3>&1 | cat
    } >"$work/out"
    got=$(grep -c '^xsigma [0-9]' "$work/err")
    [ "$got" -eq 1 ] || fail "an orphan runs $command: $got reports, not 1"
done
reports "no report" 0 XSIGMA_STATS=0 -- sh -c :
reports "children too" 3 XSIGMA_STATS_CHILDREN=1 -- sh -c 'ls / >/dev/null; ls / >/dev/null; true'
rm -rf "$work/files" && mkdir "$work/files"
reports "to a file" 0 "XSIGMA_STATS_FILE=$work/files/%p.txt" -- sh -c 'ls / >/dev/null; true'
set -- "$work"/files/*
{ [ $# -eq 1 ] && [ -s "$1" ]; } || fail "not one report file: $*"
[ -s "$work/err" ] && fail "with XSIGMA_STATS_FILE standard error is not empty"
finish
