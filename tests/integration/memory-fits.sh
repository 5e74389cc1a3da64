#!/bin/bash
# Programs that just fit a memory cgroup under glibc fit one of 5 % more under the own core, with
# everything as it is by default. long-memory-fits.sh tries all programs of prog-*.
# timeout: 400
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

for name in perl cxx-new; do
    XS_INSTEAD=$root/tests/support/fits.sh "$root/tests/integration/prog-$name.sh" >"$work/log" 2>&1
    rc=$?
    cat "$work/log"
    [ $rc -ne 77 ] || skip "$(sed -n 's/^skip: //p' "$work/log" | tail -n 1)"
    [ $rc -eq 0 ] || fail "$name: status $rc"
done
finish
