#!/bin/bash
# Thread-local variables lie on each thread's stack, and so on that of the thread that gives memory
# back: whatever their size, the program runs, and has that thread.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

command -v "${CC:-cc}" >/dev/null || skip "no ${CC:-cc} here"
for bytes in 1000 200000 240000 246000 250000 252000 254000 256000 1000000; do
    "${CC:-cc}" -O2 -pthread -D TLS_BYTES=$bytes "$root/tests/programs/tls_size.c" -o "$work/tls" || fail "cannot build it with $bytes"
    out=$(XSIGMA_CPU_DECAY=10ms XSIGMA_STATS=0 LD_PRELOAD=$lib timeout 30 "$work/tls" 2>"$work/err")
    rc=$?
    [ "$rc $out" = "0 2" ] || fail "$bytes bytes: status $rc, threads at the end $out, not 2: $(head -n 3 "$work/err")"
done
finish
