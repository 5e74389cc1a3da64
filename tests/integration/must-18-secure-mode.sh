#!/bin/bash
# A setuid program that is linked with the library: no variable is read and no file written.
# LD_PRELOAD does not reach such a program at all, so it must carry the library itself.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
[ "$(id -u)" -eq 0 ] || skip "needs root to make a setuid program of another user"
need "${CC:-cc}"

mkdir "$work/files" "$work/bin"
cp "$lib" "$work/bin/libxsigma.so"
"${CC:-cc}" -O2 "$root/tests/programs/secure.c" -o "$work/bin/secure" \
    -Wl,--no-as-needed "-L$work/bin" -lxsigma "-Wl,-rpath,$work/bin" || fail "cannot link with the library"
chmod 755 "$work" "$work/bin" "$work/bin/libxsigma.so"
chmod 1777 "$work/files"

variables=(XSIGMA_CPU_BACKEND=banana XSIGMA_VERBOSE=1 XSIGMA_STATS=1 XSIGMA_NONSENSE=1
    "XSIGMA_LOG=$work/files/log" "XSIGMA_STATS_FILE=$work/files/%p.txt")
run() { # ARGUMENT
    (cd "$work/files" && env "${variables[@]}" "$work/bin/secure" "$1") >"$work/out" 2>"$work/err"
}
# The same program without the bit: the variables are read, so the test can fail.
run any || fail "the linked program: status $?"
set -- "$work"/files/*
[ -e "$1" ] || fail "without secure mode no file was written: this test would prove nothing"
rm -f "$work"/files/*

chown 65534:65534 "$work/bin/secure"
chmod 4755 "$work/bin/secure"
run secure
rc=$?
[ $rc -eq 77 ] && skip "setuid has no effect in $work"
[ $rc -eq 0 ] || fail "status $rc"
[ "$(cat "$work/out")" = ran ] || fail "the program's output: $(cat "$work/out")"
set -- "$work"/files/*
[ -e "$1" ] && fail "files were written: $*"
grep -qiE 'banana|NONSENSE' "$work/err" && fail "variables were read: $(cat "$work/err")"
variables=(XSIGMA_HELP=1)
run secure
[ "$(cat "$work/out")" = ran ] || fail "XSIGMA_HELP=1 is obeyed"
variables=(XSIGMA_STRICT=1 XSIGMA_NONSENSE=1)
run secure
[ "$(cat "$work/out")" = ran ] || fail "XSIGMA_STRICT=1 is obeyed"
finish
