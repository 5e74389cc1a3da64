#!/bin/bash
# Every block is sampled while CPython runs tests of its own and redis a session: no deadlock, and the
# same results as without us. More modules, requests and back ends: long-must-21-programs.
# timeout: 280
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

here=$xs_root/tests/integration
export XS_MORE=XSIGMA_SAMPLE=1
for policy in ${XS_SAMPLED_POLICIES:-bfc}; do
    for script in prog-cpython-tests prog-redis; do
        XS_ONLY_POLICY=$policy timeout -s KILL "${XS_SAMPLED_SECONDS:-130}" "$here/$script.sh" >log 2>&1
        case $? in
            0) xs_runs=$((xs_runs + 1)) ;;
            77) tail -n 1 log ;;
            *) cat log; fail "$script with every block sampled, $policy" ;;
        esac
    done
done
[ $xs_runs -gt 0 ] || skip "neither CPython's tests nor redis here"
finish
