#!/bin/bash
# What counting costs, and sampling besides, by instructions, of a real program that allocates much: at
# most 2 per cent each.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need valgrind /usr/bin/python3

# instructions SAMPLE STATS - of python3 with its own pools off
instructions() {
    env XSIGMA_STATS="$2" XSIGMA_STATS_CHILDREN=1 XSIGMA_SAMPLE="$1" XSIGMA_SAMPLE_SEED=1 PYTHONMALLOC=malloc PYTHONHASHSEED=0 \
        LD_PRELOAD="$XS_LIB" valgrind --tool=callgrind --callgrind-out-file=/dev/null /usr/bin/python3 -c '
import json
for i in range(300):
    json.loads(json.dumps({str(k): [k] * 3 + [str(k) * 5] for k in range(100)}))' 2>&1 |
        tee "log-$1-$2" | sed -n 's/.*refs: *//p' | tr -d ,
}

uncounted=$(instructions off 0)
off=$(instructions off 1)
on=$(instructions 512K 1)
grep -q 'TOP SITES' log-512K-1 || fail "nothing was sampled: $(tail -n 5 log-512K-1)"
grep -q '^  malloc ' log-off-1 || fail "no latency: $(tail -n 5 log-off-1)"
! grep -q '^CPU' log-off-0 || fail "a report without statistics"
[ $((off * 100)) -le $((uncounted * 102)) ] || fail "$off instructions with statistics, $uncounted without"
echo "statistics: $(((off - uncounted) * 10000 / uncounted)) in 10,000"
[ $((on * 100)) -le $((off * 102)) ] || fail "$on instructions with sampling, $off without"
echo "sampling at 512K: $(((on - off) * 10000 / off)) in 10,000"
xs_runs=3
finish
