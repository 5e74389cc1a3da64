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

# The least limits, by turns, without a library ("") and with each of those; the middle ones of the
# rounds stay in xs_least[LIBRARY].
declare -A xs_least
xs_turns() { # ROUNDS GUESS STATUS LIBRARIES COMMAND...
    local rounds=$1 guess=$2 status=$3 libraries=$4 library round
    local -A found=()
    shift 4
    for ((round = 1; round <= rounds; round++)); do
        for library in '' $libraries; do
            xs_find_near "$guess" "$status" env ${library:+LD_PRELOAD="$library"} "$@"
            found[.$library]+="$cgroup_least"$'\n'
        done
    done
    for library in '' $libraries; do
        xs_least[.$library]=$(xs_middle "${found[.$library]}")
    done
}

xs_middle() { # LINES
    sort -n <<<"${1%$'\n'}" | awk '{ n[NR] = $1 } END { print n[int((NR + 1) / 2)] }'
}

# What is quick is searched for three times. Sets cgroup_least to glibc's.
xs_fits_row() { # NAME LEAST SECONDS STATUS COMMAND...
    local name=$1 least=$2 rounds=1 status=$4 library text=''
    [ "$3" -ge 2 ] || rounds=3
    shift 4
    xs_empty_library || return
    xs_turns $rounds "$least" "$status" "$XS_LIB $xs_tmp/empty.so" "$@"
    least=${xs_least[.]}
    for library in "$XS_LIB" "$xs_tmp/empty.so"; do
        text+=" | $((xs_least[.$library] >> 10)) | $((xs_least[.$library] * 100 / least - 100))"
    done
    echo "| $name | $((least >> 10))$text |" >>"$XS_FITS_TABLE"
    cgroup_least=$least
}

same_output() {
    local expected name least more=5 word seconds
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
        xs_fits_row "$name" "$least" "$seconds" "$expected" "$@"
        least=$cgroup_least
    fi
    cgroup_limit $((least * (100 + more) / 100))
    if cgroup_holds xs_lives "$expected" env LD_PRELOAD="$XS_LIB" "$@"; then
        echo "$name: $((least >> 10)) KiB under glibc; fits with $more % more"
        cgroup_limit -1
        return
    fi
    # A search ends at the luckiest of its runs, and where several processes meet by chance that is far
    # from the usual one: so searches are compared with searches.
    xs_turns 3 "$least" "$expected" "$XS_LIB" "$@"
    least=${xs_least[.]}
    if [ "${xs_least[.$XS_LIB]}" -le $((least * (100 + more) / 100)) ]; then
        echo "$name: at least $((least >> 10)) KiB under glibc, $((xs_least[.$XS_LIB] >> 10)) with the library, by turns"
    else
        fail "$name: $((least >> 10)) KiB under glibc; does not fit with $more % more, least is $((xs_least[.$XS_LIB] >> 10))"
    fi
}
