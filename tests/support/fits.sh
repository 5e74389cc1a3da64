# shellcheck shell=bash
# fits.sh - sourced by lib.sh in the place of its comparison (XS_INSTEAD): the least limit of a memory
# cgroup in which each program of a prog-* script lives under glibc, and whether it lives in 5 % more
# under the library. XS_FITS_MORE="name=per cent ..." allows a program more.
# With XS_FITS_TABLE=FILE the least limits under the library and under an empty one are looked for, too,
# and a row is added to the file.
# shellcheck disable=SC2154 # variables of lib.sh
# shellcheck source=cgroup.sh
. "$(dirname "${BASH_SOURCE[0]}")/cgroup.sh"

cgroup_make || skip "no memory cgroup can be made here"
trap 'cgroup_remove; rm -rf "$xs_tmp"' EXIT

xs_fits_s=60

# Records lie where they do by default, and those of processes that the limit ended stay there.
unset XSIGMA_RECORD
: >"$xs_tmp/began"
xs_drop_records() {
    local record
    for record in /dev/shm/xsigma-"$EUID"-*; do
        if [ "$record" -nt "$xs_tmp/began" ] && [ ! -e "/proc/${record##*-}" ]; then rm -f "$record"; fi
    done
}

# Within the limit it does what it does without one.
xs_lives() { # STATUS COMMAND...
    local expected=$1
    shift
    # As libc's: what is read here first is not charged to the group.
    cat "$XS_LIB" "$xs_tmp/empty.so" >/dev/null 2>&1
    cgroup_run timeout "$xs_fits_s" "$@" </dev/null >got.out 2>"$xs_stderr"
    [ $? -eq "$expected" ] && cmp -s expected.out got.out
    local same=$?
    # What one process leaves would be charged to the next one.
    cgroup_renew
    xs_drop_records
    return $same
}

# Sets cgroup_least, within 1 %.
xs_find_near() { # GUESS STATUS COMMAND...
    cgroup_find_near "$1" 100 xs_lives "${@:2}"
    cgroup_limit -1
}

# A library that has one relocation and one variable, and does nothing.
xs_empty_library() {
    [ -e "$xs_tmp/empty.so" ] && return
    echo 'static int variable; int *xs_empty_variable = &variable;
          __attribute__((constructor)) static void start(void) { variable = 1; }' >"$xs_tmp/empty.c"
    "${CC:-cc}" -O2 -shared -fPIC "$xs_tmp/empty.c" -o "$xs_tmp/empty.so"
}

# Where several processes meet by chance, one run in ten lives far below what the usual one needs. So what is
# compared is the least limit in which all of some tries live, upward from the luckiest one in steps of 1 %.
xs_find_surely() { # TRIES GUESS STATUS COMMAND...
    local tries=$1 n
    shift
    xs_find_near "$@"
    shift
    while :; do
        cgroup_limit "$cgroup_least"
        for ((n = 0; n < tries; n++)); do
            xs_lives "$@" || break
        done
        [ "$n" -lt "$tries" ] || break
        cgroup_least=$((cgroup_least * 101 / 100))
    done
    cgroup_limit -1
}

# Adds a row to the table. Sets cgroup_least to glibc's.
xs_fits_row() { # TRIES NAME LEAST STATUS COMMAND...
    local tries=$1 name=$2 guess=$3 status=$4 least library text
    shift 4
    xs_empty_library || return
    xs_find_surely "$tries" "$guess" "$status" "$@"
    least=$cgroup_least
    text="| $name | $((least >> 10))"
    for library in "$XS_LIB" "$xs_tmp/empty.so"; do
        xs_find_surely "$tries" "$guess" "$status" env LD_PRELOAD="$library" "$@"
        text+=" | $((cgroup_least >> 10)) | $((cgroup_least * 100 / least - 100))"
    done
    echo "$text |" >>"$XS_FITS_TABLE"
    cgroup_least=$least
}

same_output() {
    local expected name least more=5 word seconds tries
    xs_take_options "$@"
    expected=$xs_expected
    shift "$xs_options"
    name=$1
    shift
    set -- env XS_WITHOUT=1 "$@" # as it is started with a library
    cgroup_limit -1
    cgroup_peak >/dev/null
    seconds=$SECONDS
    cgroup_run "$@" </dev/null >expected.out 2>"$xs_stderr"
    least=$(($(cgroup_peak) * 5 / 4))
    seconds=$((SECONDS - seconds))
    xs_fits_s=$((60 + 20 * seconds))
    tries=$((seconds < 2 ? 10 : 3))
    xs_lives "$expected" "$@" || {
        echo "$name: not the same twice, not tried"
        return
    }
    xs_find_near $((least * 3 / 4)) "$expected" "$@"
    least=$cgroup_least
    for word in ${XS_FITS_MORE-}; do
        [ "${word%=*}" != "$name" ] || more=${word#*=}
    done
    xs_runs=$((xs_runs + 1))
    if [ -n "${XS_FITS_TABLE-}" ]; then
        xs_fits_row "$tries" "$name" "$least" "$expected" "$@"
        least=$cgroup_least
    fi
    cgroup_limit $((least * (100 + more) / 100))
    if cgroup_holds xs_lives "$expected" env LD_PRELOAD="$XS_LIB" "$@"; then
        echo "$name: $((least >> 10)) KiB under glibc; fits with $more % more"
        cgroup_limit -1
        return
    fi
    [ -n "${XS_FITS_TABLE-}" ] || xs_find_surely "$tries" "$least" "$expected" "$@"
    least=$cgroup_least
    xs_find_surely "$tries" "$least" "$expected" env LD_PRELOAD="$XS_LIB" "$@"
    if [ "$cgroup_least" -le $((least * (100 + more) / 100)) ]; then
        echo "$name: surely in $((least >> 10)) KiB under glibc, in $((cgroup_least >> 10)) with the library"
    else
        fail "$name: surely in $((least >> 10)) KiB under glibc, in $((cgroup_least >> 10)) with the library, which is more than $more % more"
    fi
}
