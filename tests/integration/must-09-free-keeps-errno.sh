#!/bin/bash
# free keeps errno: any size, any thread, and with no mapping left to the process.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

contract=$(program contract/contract) || exit 1
under_each -- "$contract" free-errno
for policy in "${policies[@]}"; do
    under "$policy" -- "$contract" free-errno-maps >"$work/out" 2>&1
    rc=$?
    # 77: the limit on mappings is too high to be reached here.
    if [ $rc -ne 0 ] && [ $rc -ne 77 ]; then
        fail "$policy: free-errno-maps: status $rc"
        head -n 20 "$work/out"
    fi
done
finish
