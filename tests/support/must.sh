# shellcheck shell=bash
# must.sh - what the scripts of tests/contract and tests/integration share. Sourced, not run.
# XS_LIB names the library under test; tests of the tests set it to another allocator's.
set -u
export LC_ALL=C
unset LD_PRELOAD "${!XSIGMA_@}"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${XS_BUILD:-$root/build}
lib=${XS_LIB:-$build/libxsigma.so}
work=$(mktemp -d "${TMPDIR:-/tmp}/xsigma-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
failures=0

# What processes leave behind that are killed, or may not print their report, goes with the test.
mkdir -m 1777 "$work/records"
chmod 711 "$work" # some change to another user
export XSIGMA_RECORD=$work/records

# shellcheck disable=SC2034 # for the scripts
route='<=64K:mimalloc,<=1M:tbb,*:system'
# shellcheck disable=SC2034 # for the scripts
own_route='<=1K:bfc,<=64K:mimalloc,*:bfc'
# What changes the own core's ways but not what a program sees.
# shellcheck disable=SC2034 # for the scripts
bfc_settings=(XSIGMA_CPU_ALIGN=64 XSIGMA_BFC_LIMIT=64G XSIGMA_BFC_COALESCE=0 XSIGMA_CPU_CACHE=0
    'XSIGMA_CPU_CACHE=0 XSIGMA_BFC_COALESCE=0 XSIGMA_CPU_DECAY=0')

# The own core with every block checked, and some at guard pages.
# shellcheck disable=SC2034 # for the scripts
hardened_settings=(XSIGMA_CPU_HARDENED=check XSIGMA_CPU_HARDENED=full XSIGMA_CPU_GUARD_SAMPLE=5
    'XSIGMA_CPU_HARDENED=check XSIGMA_CPU_GUARD_SAMPLE=20 XSIGMA_CPU_ALIGN=64'
    'XSIGMA_CPU_HARDENED=full XSIGMA_CPU_GUARD_SAMPLE=3 XSIGMA_CPU_QUARANTINE=64K')


fail() {
    printf 'FAIL: %s\n' "$*"
    failures=$((failures + 1))
}

skip() {
    printf 'skip: %s\n' "$*"
    exit 77
}

finish() {
    if [ "$failures" -ne 0 ]; then
        printf '%s check(s) failed\n' "$failures"
        exit 1
    fi
    exit 0
}

# Bounds on instructions were measured with Debian 12's compiler; another may need a tenth more.
is_measured_compiler() {
    [[ $("${CC:-cc}" -dumpfullversion 2>/dev/null)-$(uname -m) == 12.*-x86_64 ]]
}
bound() { # NUMBER
    if is_measured_compiler; then echo "$1"; else echo $((($1 * 11 + 9) / 10)); fi
}

need() { # COMMAND...
    local c
    for c in "$@"; do
        command -v "$c" >/dev/null || skip "$c is not installed"
    done
}

# Prints the path of a built test program; builds it if make has not, so that a script runs alone.
# contract/NAME is tests/contract/NAME.c, a name alone is tests/programs/NAME; lib* is shared, and
# one in C++ is in tests/support.
program() { # NAME
    local dir=programs name=$1 src out
    case $name in
        contract/*) dir=contract name=${name#contract/} ;;
    esac
    out=$build/tests/$dir/$name
    [[ $name == lib* ]] && out=$out.so
    src=$root/tests/$dir/$name.c
    [ -f "$src" ] || src=$root/tests/$dir/$name.cc
    [ -f "$src" ] || src=$root/tests/support/$name.cc
    if [ ! -e "$out" ] || [ "$src" -nt "$out" ]; then
        local flags=(-O1 -g -pthread -D_GNU_SOURCE -fno-builtin -Wall -Wextra "-I$root/include" "-I$root/src" "-I$root") cc=${CC:-cc}
        [[ $src == *.cc ]] && cc=${CXX:-c++}
        [[ $name == lib* ]] && flags+=(-shared -fPIC)
        local sources=("$src")
        [ "$dir/$name" = contract/contract ] && sources=("$root"/tests/contract/*.c)
        command -v "$cc" >/dev/null || skip "$out is not built and there is no $cc"
        mkdir -p "${out%/*}"
        if ! "$cc" "${flags[@]}" "${sources[@]}" -o "$out.$$" -ldl || ! mv "$out.$$" "$out"; then
            printf 'FAIL: cannot build %s\n' "$out" >&2
            exit 1
        fi
    fi
    printf '%s\n' "$out"
}

# Runs a command under the library with a policy: a back end's name, "route", or a route itself.
# Further settings come first: under mimalloc XSIGMA_STATS=0 -- ls
under() { # POLICY [NAME=VALUE...] [--] COMMAND...
    local vars=("LD_PRELOAD=$lib")
    case $1 in
        none) ;;
        route) vars+=("XSIGMA_CPU_ROUTE=$route") ;;
        *:*) vars+=("XSIGMA_CPU_ROUTE=$1") ;;
        *) vars+=("XSIGMA_CPU_BACKEND=$1") ;;
    esac
    shift
    while [[ ${1-} == [A-Z]*=* ]]; do
        vars+=("$1")
        shift
    done
    [ "${1-}" = -- ] && shift
    timeout --foreground "${limit_s:-60}" env "${vars[@]}" "$@"
}

# Runs a program under each policy and wants status 0.
under_each() { # [NAME=VALUE...] [--] COMMAND...
    local p rc
    for p in "${policies[@]}"; do
        under "$p" "$@" >"$work/out" 2>&1
        rc=$?
        [ $rc -eq 124 ] && rc="124 (ran too long)"
        if [ "$rc" != 0 ]; then
            fail "$p: ${*##*/}: status $rc"
            head -n 20 "$work/out"
        fi
    done
}

# shellcheck source=libraries.sh
. "$root/tests/support/libraries.sh"

# Without a library its policy would be a second "system" with one line more on standard error.
policies=(system bfc)
for xs_name in mimalloc tbb; do
    have_backend $xs_name && policies+=("$xs_name")
done
have_backend mimalloc && have_backend tbb && policies+=(route)

# The value of one field of a JSON file by its path: json_get FILE cpu.frees
json_get() { # FILE PATH
    local flat
    flat=$(program json_flat) || exit 1
    "$flat" "$1" | awk -v path="$2" '$1 == path { sub(/^[^ ]* /, ""); print; found = 1 }
                                     END { exit !found }'
}

[ -e "$lib" ] || [[ $lib != */* ]] || { printf 'FAIL: %s is not built\n' "$lib"; exit 1; }
