# shellcheck shell=bash
# fits.sh - sourced by lib.sh in the place of its comparison (XS_INSTEAD): the least limit of a memory
# cgroup in which each program of a prog-* script lives under glibc, and whether it lives in 5 % more
# under the library. XS_FITS_MORE="name=per cent ..." allows a program more; XS_FITS_S: seconds for a run.
# With XS_FITS_TABLE=FILE the least limits under the library and under an empty one are looked for, too,
# and a row is added to the file.
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

# Sets cgroup_least, within 1 %.
xs_find_least() { # LOW HIGH STATUS COMMAND...
    cgroup_find_least "$1" "$2" 100 xs_lives "${@:3}"
    cgroup_limit -1
}

# A library that has one relocation and one variable, and does nothing.
xs_empty_library() {
    [ -e "$xs_tmp/empty.so" ] && return
    echo 'static int variable; int *xs_empty_variable = &variable;
          __attribute__((constructor)) static void start(void) { variable = 1; }' >"$xs_tmp/empty.c"
    "${CC:-cc}" -O2 -shared -fPIC "$xs_tmp/empty.c" -o "$xs_tmp/empty.so"
}

xs_fits_row() { # NAME LEAST STATUS COMMAND...
    local name=$1 least=$2 status=$3 text='' library
    shift 3
    xs_empty_library || return
    for library in "$XS_LIB" "$xs_tmp/empty.so"; do
        xs_find_least $((least * 9 / 10)) $((least * 4)) "$status" env LD_PRELOAD="$library" "$@"
        text+=" | $((cgroup_least >> 10)) | $((cgroup_least * 100 / least - 100))"
    done
    echo "| $name | $((least >> 10))$text |" >>"$XS_FITS_TABLE"
}

same_output() {
    local expected name least more=5 word
    xs_take_options "$@"
    expected=$xs_expected
    shift "$xs_options"
    name=$1
    shift
    set -- env XS_WITHOUT=1 "$@" # as it is started with a library
    cgroup_limit -1
    cgroup_peak >/dev/null
    cgroup_run "$@" </dev/null >expected.out 2>"$xs_stderr"
    least=$(($(cgroup_peak) * 5 / 4))
    xs_lives "$expected" "$@" || {
        echo "$name: not the same twice, not tried"
        return
    }
    xs_find_least $((least / 8)) $least "$expected" "$@"
    least=$cgroup_least
    for word in ${XS_FITS_MORE-}; do
        [ "${word%=*}" != "$name" ] || more=${word#*=}
    done
    xs_runs=$((xs_runs + 1))
    [ -z "${XS_FITS_TABLE-}" ] || xs_fits_row "$name" "$least" "$expected" "$@"
    cgroup_limit $((least * (100 + more) / 100))
    if xs_lives_twice "$expected" env LD_PRELOAD="$XS_LIB" "$@"; then
        echo "$name: $((least >> 10)) KiB under glibc; fits with $more % more"
    else
        fail "$name: $((least >> 10)) KiB under glibc; does not fit with $more % more"
    fi
    cgroup_limit -1
}
