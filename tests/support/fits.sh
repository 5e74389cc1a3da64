# shellcheck shell=bash
# fits.sh - sourced by lib.sh in the place of its comparison (XS_INSTEAD): the least limit of a memory
# cgroup in which each program of a prog-* script lives under glibc, and whether it lives in 5 % more
# under the library. XS_FITS_MORE="name=per cent ..." allows a program more; XS_FITS_S: seconds for a run.
# shellcheck disable=SC2154 # variables of lib.sh
# shellcheck source=cgroup.sh
. "$(dirname "${BASH_SOURCE[0]}")/cgroup.sh"

cgroup_make || skip "no memory cgroup can be made here"
trap 'cgroup_remove; rm -rf "$xs_tmp"' EXIT

# Within the limit it does what it does without one.
xs_lives() { # STATUS COMMAND...
    local expected=$1
    shift
    cgroup_run timeout "${XS_FITS_S:-60}" "$@" </dev/null >got.out 2>"$xs_stderr"
    [ $? -eq "$expected" ] && cmp -s expected.out got.out
}

xs_lives_twice() { # STATUS COMMAND... - of three times
    local n passed=0
    for n in 1 2 3; do
        xs_lives "$@" && passed=$((passed + 1))
        if [ $passed -ge 2 ] || [ $((passed + 3 - n)) -lt 2 ]; then break; fi
    done
    [ $passed -eq 2 ]
}

same_output() {
    local expected name low high middle n more=5 word
    xs_take_options "$@"
    expected=$xs_expected
    shift "$xs_options"
    name=$1
    shift
    cgroup_limit -1
    cgroup_peak >/dev/null
    cgroup_run "$@" </dev/null >expected.out 2>"$xs_stderr"
    high=$(($(cgroup_peak) * 5 / 4))
    xs_lives "$expected" "$@" || {
        echo "$name: not the same twice, not tried"
        return
    }
    low=$((high / 8))
    while [ $((high - low)) -gt $((high / 50)) ]; do
        middle=$(((low + high) / 2))
        cgroup_limit $middle
        if xs_lives "$expected" "$@" && xs_lives "$expected" "$@"; then
            high=$middle
        else
            low=$middle
        fi
    done
    for word in ${XS_FITS_MORE-}; do
        [ "${word%=*}" != "$name" ] || more=${word#*=}
    done
    xs_runs=$((xs_runs + 1))
    # In as little more as does, in steps.
    for n in 5 10 15 20 30 40 60 80 120 200 300; do
        cgroup_limit $((high * (100 + n) / 100))
        xs_lives_twice "$expected" env LD_PRELOAD="$XS_LIB" "$@" && break
    done
    cgroup_limit -1
    echo "$name: $((high >> 10)) KiB under glibc; fits with $n % more, $((high * n / 102400)) KiB"
    [ "$n" -le "$more" ] || fail "$name: $n % more, and $more are allowed"
}
