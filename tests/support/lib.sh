# shellcheck shell=bash
# tests/support/lib.sh - for test scripts: run a program with the library preloaded, and compare.
#
#   . "$(dirname "$0")/../support/lib.sh"
#   need sqlite3                      # else the test is skipped
#   same_output queries sqlite3 :memory: 'select 1'
#   finish
#
# XS_INSTEAD names a file that is sourced last and may put other functions in the place of these.
# XS_LIB names another library to preload (default build/libxsigma.so). When its name is not
# libxsigma.so, it stands in: nothing is asked of the report.
set -u
export LC_ALL=C
# The distribution's programs first: another python3 on the path has none of its modules.
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH

xs_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd) || exit 1
xs_build=${XS_BUILD:-$xs_root/build}
XS_LIB=${XS_LIB:-${XSIGMA_SO:-$xs_build/libxsigma.so}}
unset LD_PRELOAD "${!XSIGMA_@}"
xs_tmp=$(mktemp -d "${TMPDIR:-/tmp}/xs.XXXXXX") || exit 1
trap 'rm -rf "$xs_tmp"' EXIT
cd "$xs_tmp" || exit 1
export HOME=$xs_tmp
# What processes leave behind that are killed, or may not print their report, goes with the test.
mkdir -m 1777 records
chmod 711 . # some change to another user
export XSIGMA_RECORD=$xs_tmp/records

xs_failures=0
xs_runs=0
xs_left_out=''

fail() {
    echo "FAIL: $*"
    xs_failures=$((xs_failures + 1))
}

skip() {
    echo "skip: $*"
    exit 77
}

# Skips the test unless every command (or program of build/tests/programs, by path) is there.
need() {
    local c
    for c in "$@"; do
        command -v "$c" >/dev/null || skip "no $c here"
    done
}

# Sets xs_program to the built tests/programs/NAME; builds it if make has not yet.
xs_program=''
program() { # NAME
    local source=$xs_root/tests/programs/$1.c compiler=${CC:-cc}
    xs_program=$xs_build/tests/programs/$1
    if [ ! -r "$source" ]; then
        source=${source}c
        compiler=${CXX:-c++}
    fi
    [ -x "$xs_program" ] && [ ! "$source" -nt "$xs_program" ] && return
    need "$compiler"
    mkdir -p "$xs_build/tests/programs"
    if ! "$compiler" -O2 -g -pthread -I"$xs_root/include" -I"$xs_root/src" "$source" -o "$xs_program.$$" ||
        ! mv "$xs_program.$$" "$xs_program"; then
        echo "FAIL: cannot build $source"
        exit 1
    fi
}

# Ends the test with its verdict.
finish() {
    if [ "$xs_failures" -gt 0 ]; then
        echo "$xs_failures failures"
        exit 1
    fi
    [ "$xs_runs" -gt 0 ] || {
        echo "FAIL: nothing was run"
        exit 1
    }
    [ -z "$xs_left_out" ] || skip "passed but for:$xs_left_out, whose libraries are not here"
    exit 0
}

[ -r "$XS_LIB" ] || {
    echo "FAIL: no $XS_LIB: run make first"
    exit 1
}
case $XS_LIB in
    */libxsigma.so) xs_stand_in=0 ;;
    *) xs_stand_in=1 ;;
esac

# shellcheck source=libraries.sh
. "$xs_root/tests/support/libraries.sh"

# The policies under which every program must do the same, less those without their library.
xs_policies=()
xs_find_policies() {
    local policy needs backend
    while read -r policy needs; do
        for backend in $needs; do
            have_backend "$backend" || {
                xs_left_out+=" $policy"
                continue 2
            }
        done
        xs_policies+=("$policy")
    done <<'TABLE'
system
bfc
mimalloc mimalloc
tbb tbb
route-a mimalloc tbb
route-b mimalloc tbb
route-c mimalloc
check
TABLE
    # Slower: by long-hardened.sh.
    [ -z "${XS_ONLY_POLICY-}" ] || xs_policies=("$XS_ONLY_POLICY")
}
xs_find_policies

# Sets the array xs_env to the variables of a policy: a name, or NAME=VALUE words.
xs_policy_env() {
    # shellcheck disable=SC2206 # words on purpose
    case $1 in
        system | bfc | mimalloc | tbb) xs_env=("XSIGMA_CPU_BACKEND=$1") ;;
        route-a) xs_env=('XSIGMA_CPU_ROUTE=<=64K:mimalloc,<=1M:tbb,*:system') ;;
        route-b) xs_env=('XSIGMA_CPU_ROUTE=<=1K:tbb,<=256K:mimalloc,*:system') ;;
        route-c) xs_env=('XSIGMA_CPU_ROUTE=<=1K:bfc,<=64K:mimalloc,*:bfc') ;;
        check | full) xs_env=("XSIGMA_CPU_HARDENED=$1" XSIGMA_CPU_GUARD_SAMPLE=1000) ;;
        *=*) xs_env=($1) ;;
        *)
            echo "FAIL: no policy $1"
            exit 1
            ;;
    esac
}

# xs_run POLICY COMMAND... - runs it with the library preloaded. Its standard output is the
# command's; standard error goes to the file $xs_stderr, the reports to $xs_reports/*.json.
# Variables: xs_children=1 lets child processes report too. xs_more: an array of NAME=VALUE more, at
# first the words of XS_MORE.
xs_stderr=$xs_tmp/stderr
xs_reports=$xs_tmp/reports
xs_children=0
read -ra xs_more <<<"${XS_MORE-}"
xs_run() {
    local policy=$1
    local xs_env=()
    shift
    xs_policy_env "$policy"
    rm -rf "$xs_reports"
    mkdir -p "$xs_reports"
    (
        export LD_PRELOAD="$XS_LIB" XSIGMA_STATS=auto XSIGMA_STATS_FILE="$xs_reports/%e-%p.json"
        [ "$xs_children" = 0 ] || export XSIGMA_STATS_CHILDREN=1
        export "${xs_env[@]}"
        [ ${#xs_more[@]} -eq 0 ] || export "${xs_more[@]}"
        exec "$@"
    ) </dev/null 2>"$xs_stderr"
}

# xs_run_without COMMAND... - the same without the library.
xs_run_without() {
    (exec "$@") </dev/null 2>"$xs_stderr"
}

# The sum of a counter over reports: xs_counter BACKEND NAME FILE..., BACKEND "totals" for all.
xs_counter() {
    local backend=$1 name=$2
    shift 2
    [ $# -gt 0 ] && cat "$@" 2>/dev/null |
        grep -oE "\"(name\": *\"[a-z]+\"|totals\"|$name\": *[0-9]+)" |
        awk -v want="$backend" '
            /^"totals"/ { at = "totals"; next }
            /^"name"/ { split($0, part, "\""); at = part[4]; next }
            at == want { sub(/.*: */, ""); n += $0 }
            END { printf "%d\n", n }'
}

# xs_proven WHAT POLICY PROGRAM... - after xs_run: the policy's back end served calls; of the root
# process if no PROGRAM (pattern) is named, else of each of them.
xs_proven() {
    local what=$1 backend=$2 program n
    shift 2
    [ "$xs_stand_in" = 0 ] || return 0
    case $backend in
        route-a) backend=mimalloc ;;
        route-b) backend=tbb ;;
        route-c | check | full) backend=bfc ;;
        *=*) backend=totals ;;
    esac
    [ $# -gt 0 ] || set -- ''
    for program in "$@"; do
        # shellcheck disable=SC2086 # a pattern
        n=$(xs_counter "$backend" allocations "$xs_reports"/$program*.json)
        if [ "${n:-0}" -eq 0 ]; then
            fail "$what: no report shows allocations by $backend${program:+ in $program}; reports:"
            ls "$xs_reports"
            return 1
        fi
    done
    case " ${xs_more[*]-} " in
        *' XSIGMA_SAMPLE='*)
            cat "$xs_reports"/*.json | grep -q '"samples": [1-9][0-9][0-9]' || fail "$what: hardly anything was sampled"
            ;;
    esac
}

# xs_same_bytes WHAT EXPECTED GOT
xs_same_bytes() {
    cmp -s "$2" "$3" && return
    fail "$1 differs from the run without the library"
    diff -a -u --label without --label with "$2" "$3" | cut -c 1-200 | head -n 30
}

# Options of same_output: sets xs_with_stderr, xs_programs and xs_expected, and how many arguments
# they were, xs_options.
xs_take_options() {
    xs_with_stderr=0 xs_programs=() xs_expected=0 xs_options=$#
    while :; do
        case $1 in
            -e) xs_with_stderr=1 ;;
            -c)
                read -ra xs_programs <<<"$2"
                shift
                ;;
            -s)
                xs_expected=$2
                shift
                ;;
            *) break ;;
        esac
        shift
    done
    xs_options=$((xs_options - $#))
}

# same_output [-e] [-c 'PROGRAM...'] [-s STATUS] NAME COMMAND... - runs the command once without the
# library and under each policy, and compares standard output, status and, with -e, standard error.
# -c: the children named must have been served, too. -s: the status it should have, if not 0.
same_output() {
    local with_stderr programs name policy status expected started
    xs_take_options "$@"
    with_stderr=$xs_with_stderr programs=("${xs_programs[@]}") expected=$xs_expected
    shift "$xs_options"
    name=$1
    shift
    [ ${#programs[@]} -eq 0 ] || xs_children=1
    started=$EPOCHREALTIME
    xs_run_without "$@" >expected.out
    status=$?
    mv "$xs_stderr" expected.err
    echo "$name without: status $status, $(wc -c <expected.out) bytes$(xs_since "$started")"
    if [ $status -ne "$expected" ]; then
        fail "$name without the library: status $status"
        tail -n 20 expected.err
        return
    fi
    for policy in "${xs_policies[@]}"; do
        started=$EPOCHREALTIME
        xs_run "$policy" "$@" >got.out
        status=$?
        xs_runs=$((xs_runs + 1))
        echo "$name $policy: status $status$(xs_since "$started")"
        if [ $status -ne "$expected" ]; then
            fail "$name under $policy: status $status, without the library $expected"
            tail -n 20 "$xs_stderr"
        fi
        xs_same_bytes "$name under $policy: standard output" expected.out got.out
        [ $with_stderr = 0 ] ||
            xs_same_bytes "$name under $policy: standard error" expected.err "$xs_stderr"
        xs_proven "$name under $policy" "$policy" "${programs[@]}"
    done
    xs_children=0
}

xs_since() { # EPOCHREALTIME
    local ms=$(((${EPOCHREALTIME/./} - ${1/./}) / 1000))
    printf ', %d.%02d s' $((ms / 1000)) $((ms % 1000 / 10))
}

# shellcheck source=/dev/null
[ -z "${XS_INSTEAD-}" ] || . "$XS_INSTEAD"
