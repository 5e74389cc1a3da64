#!/bin/bash
# More of CPython's own tests and a longer session of redis with every block sampled, in front of other
# back ends too.
# timeout: 9000
export CPYTHON_TESTS=all REDIS_REQUESTS=20000 XS_SAMPLED_POLICIES=${XS_SAMPLED_POLICIES:-'bfc mimalloc system'} XS_SAMPLED_SECONDS=2400
exec "$(dirname "$0")/must-21-programs.sh"
