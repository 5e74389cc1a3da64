#!/bin/bash
# Every block is sampled while redis's and CPython's own suites run: nothing hangs, and nothing fails that
# does not fail without us.
# timeout: 5400
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need apt-get dpkg-source tclsh8.6 redis-cli
for suite in ${SAMPLED_SUITES:-redis python3}; do
    "$xs_root/tests/suites/run" --set XSIGMA_SAMPLE=1 --set XSIGMA_STATS_CHILDREN=1 --slower 4 \
        --seconds 3600 --backends bfc "$suite" || fail "$suite with every block sampled"
    # Of redis it is the servers that matter, which are children there.
    grep -lE '"program": "(redis-server|redis-check-rdb|python3.*)"' -r "$xs_root/build/suites/$suite/reports" |
        xargs -r grep -lq '"samples": [1-9][0-9][0-9][0-9]' || fail "$suite: hardly anything was sampled"
    xs_runs=$((xs_runs + 1))
done
finish
