#!/bin/bash
# Every program of prog-* in the least memory cgroup that glibc needs, and 5 % more. A library that is
# preloaded is some pages in each process, so what is small or made of many small processes does not
# fit: how much more those may need is stated here. XS_FITS_TABLE=FILE: the least limits of all, in a table.
# timeout: 3000
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

# What lies near a step takes now the one, now the next.
export XS_FITS_MORE='bash=12 dash=15 make=12 make-fails=10 repository=25 queries=8 sort-merge=10 zlib-json=15'
[ -z "${XS_FITS_TABLE-}" ] || XS_FITS_TABLE=$(realpath "$XS_FITS_TABLE") # the scripts run elsewhere
tried=0
for script in "$root"/tests/integration/prog-*.sh; do
    name=${script##*/}
    case $name in
        prog-openmpi.sh | prog-cpython-tests.sh) continue ;; # compare by themselves
    esac
    XS_INSTEAD=$root/tests/support/fits.sh "$script" >"$work/log" 2>&1
    rc=$?
    sed "s/^/${name%.sh}: /" "$work/log"
    grep -q '^skip: no memory cgroup' "$work/log" && skip "no memory cgroup can be made here"
    [ $rc -eq 0 ] && tried=$((tried + 1))
    [ $rc -eq 0 ] || [ $rc -eq 77 ] || fail "$name: status $rc"
done
[ $tried -ge 5 ] || fail "only $tried scripts were tried"
finish
