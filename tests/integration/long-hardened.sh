#!/bin/bash
# Every prog-* test under XSIGMA_CPU_HARDENED=full.
# timeout: 3600
here=$(dirname "$0")
export XS_ONLY_POLICY=full
failed=0
for script in "$here"/prog-*.sh; do
    echo "== $(basename "$script")"
    "$script"
    rc=$?
    [ $rc -eq 0 ] || [ $rc -eq 77 ] || failed=1
done
exit $failed
