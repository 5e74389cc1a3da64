#!/bin/bash
# What the library needs only at start does not stay in a process's memory, unless a debugger or a probe
# has changed it; nor does what start has used of the stack.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
[ "$(getconf PAGESIZE)" = 4096 ] || skip "pages are larger than 4 KiB"
nm "$lib" 2>/dev/null | grep -q ' xs_kept_end$' || skip "linked without a script of ours"
[ -r /proc/self/pagemap ] || skip "no /proc/self/pagemap"
patch=$(program libpatch) || exit 1
deep=$(program libdownward) || exit 1

of_code() { # KEY - KiB of the library's code and constants in a process that says so
    awk -v key="$1:" '/^[0-9a-f]+-/ { is_code = /r-xp/ && /libxsigma\.so/ } is_code && $1 == key { n += $2 } END { print n + 0 }'
}
asleep() { # VARIABLE=VALUE... - puts what the kernel says of a sleeping process into smaps
    env "$@" sleep 60 &
    for _ in {1..200}; do # it sleeps once it waits in the clock's call
        [[ $(cat "/proc/$!/comm") == sleep && $(cat "/proc/$!/stat") == *") S "* ]] && break
        command sleep 0.05
    done
    cat "/proc/$!/smaps" >"$work/smaps"
    kill $!
    wait $! 2>/dev/null
}
for stats in 0 1; do
    asleep XSIGMA_STATS=$stats XSIGMA_STATS_FILE="$work/r" LD_PRELOAD="$lib"
    kib=$(of_code Rss <"$work/smaps")
    echo "statistics $stats: $kib KiB of the library's code and constants in sleep"
    [ "$kib" -gt 0 ] || fail "no code of the library in $(cat "$work/smaps")"
    [ "$kib" -le $((116 + 12 * stats)) ] || fail "statistics $stats: $kib KiB"
    [ "$(of_code Anonymous <"$work/smaps")" = 0 ] || fail "something has been written to"
done
# A library of 2 MiB, variables and all, the kernel would align to that, and each process would pay with a
# page of the kernel's table.
bytes=0
while read -r type _ at _ _ size _; do
    [ "$type" != LOAD ] || bytes=$((at + size))
done < <(readelf -lW "$lib")
[ $bytes -gt 0 ] || fail "readelf says nothing of $lib"
[ $bytes -lt $((2 << 20)) ] || fail "the library takes $bytes bytes of address space"
# What the dynamic linker writes addresses into, and then takes the right to write away from, is a page: a
# table of pointers more would cost each process another one. (Texts can be arrays of characters.)
relro=$(readelf -lW "$lib" | awk '$1 == "GNU_RELRO" { print $6 }')
[ $((relro)) -gt 0 ] && [ $((relro)) -le 4096 ] || fail "constants with addresses in them: $((relro)) bytes"
# What has been changed stays so.
asleep XSIGMA_STATS=0 LD_PRELOAD="$lib $patch"
[ "$(of_code Anonymous <"$work/smaps")" = 4 ] || fail "the changed page is gone"
# Constructors that ran before ours have gone down the stack by 24 KiB.
asleep XSIGMA_STATS=0 LD_PRELOAD="$lib $deep"
kib=$(awk '/^[0-9a-f]+-/ { is_stack = /\[stack\]/ } is_stack && $1 == "Rss:" { print $2 }' "$work/smaps")
echo "$kib KiB of stack in sleep"
[ "$kib" -le 20 ] || fail "$kib KiB of stack"
finish
