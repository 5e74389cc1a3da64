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

# Locked pages cannot be given back: the kernel's refusal stays with the allocator.
locked=$(program free_errno_locked) || exit 1
"$locked" >/dev/null 2>&1
rc=$?
case $rc in
    0)
        for policy in "${policies[@]}"; do
            under "$policy" XSIGMA_STATS=0 "$locked" >"$work/out" 2>&1 || {
                fail "$policy: with all memory locked: status $?"
                head -n 5 "$work/out"
            }
        done
        ;;
    77) echo "mlockall is refused here: that part is left out" ;;
    *) fail "free_errno_locked without the library: status $rc" ;;
esac
finish
