#!/bin/bash
# A program of this machine in an emulator of user programs, the library in front of both: in a memory
# cgroup, as some keep a record of every page of a reservation.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/cgroup.sh
. "$root/tests/support/cgroup.sh"
qemu=qemu-$(uname -m)
need "$qemu"
cgroup_make || skip "no memory cgroup can be made here"
trap 'cgroup_remove; rm -rf "$work"' EXIT
cgroup_limit $((512 << 20))

pairs=$(program pairs) || exit 1
for policy in "${policies[@]}"; do
    out=$(limit_s=100 cgroup_run bash -c "$(declare -f under); lib=$lib route='$route'; under \"\$@\"" - \
        "$policy" XSIGMA_STATS=0 "$qemu" "$pairs" 1000 2>&1)
    rc=$?
    { [ $rc -eq 0 ] && [ -z "$out" ]; } || fail "$policy: status $rc: $out"
done
finish
