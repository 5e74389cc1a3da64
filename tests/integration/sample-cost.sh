#!/bin/bash
# What sampling costs, by instructions, of a real program that allocates much: at most 2 per cent.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need valgrind /usr/bin/python3

# instructions SAMPLE - of python3 with its own pools off
instructions() {
    env XSIGMA_STATS=1 XSIGMA_STATS_CHILDREN=1 XSIGMA_SAMPLE="$1" XSIGMA_SAMPLE_SEED=1 PYTHONMALLOC=malloc PYTHONHASHSEED=0 \
        LD_PRELOAD="$XS_LIB" valgrind --tool=callgrind --callgrind-out-file=/dev/null /usr/bin/python3 -c '
import json
for i in range(300):
    json.loads(json.dumps({str(k): [k] * 3 + [str(k) * 5] for k in range(100)}))' 2>&1 |
        tee "log-$1" | sed -n 's/.*refs: *//p' | tr -d ,
}

off=$(instructions off)
on=$(instructions 512K)
grep -q 'TOP SITES' log-512K || fail "nothing was sampled: $(tail -n 5 log-512K)"
[ $((on * 100)) -le $((off * 102)) ] || fail "$on instructions with sampling, $off without"
echo "sampling at 512K: $(((on - off) * 10000 / off)) in 10,000"
xs_runs=2
finish
