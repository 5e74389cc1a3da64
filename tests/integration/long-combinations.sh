#!/bin/bash
# Programs under random combinations of variables, right and wrong ones, do what they do without the
# library, and reports are whole. XS_SEED: other combinations.
# timeout: 3600
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need python3
for name in fork_threads thread_storm cxx_hello aligned_new thread_ends; do
    program $name
done
xs_runs=1
python3 "$xs_root/tests/support/combinations.py" "$XS_LIB" "$xs_build/tests/programs" "${XS_ROUNDS-400}" "${XS_SEED-1}" ||
    fail "see above"
finish
