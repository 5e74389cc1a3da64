# shellcheck shell=bash
# tests/suites/suite.sh - what the suites' scripts share. Each is called in a folder of its own, by
# tests/suites/run, with one of these verbs:
#   prepare   gets and builds it; status not 0: cannot be had here, the last line of output says why
#   version   of the package it comes from
#   what      a test is
#   limit     seconds that one test may take
#   list [whole]   names of the tests: those chosen for time, or all there are
#   left      what is left out, and why: a line each
#   settings TEST BACKEND   further variables for it, which the notes under `left` tell of
#   run TEST  status 0: passed; 77: does not apply here; else failed
# A suite defines functions of these names, suite_prepare and so on, and ends with: suite "$@".
# Only what stands behind `tested` runs with the library.
set -u
export LC_ALL=C
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

suite_limit() { echo 120; }
suite_left() { :; }
suite_settings() { :; }

give_up() { # why
    echo "$*"
    exit 1
}

need() { # COMMAND...
    local c
    for c in "$@"; do
        command -v "$c" >/dev/null || give_up "no $c here"
    done
}

# Replaces the shell by the command, with the library if this run is one with it.
tested() {
    # shellcheck disable=SC2086 # words
    exec env $XS_SUITE_ENV "$@"
}

# The same as one step of several.
tested_step() {
    (tested "$@")
}

package_version() { # PACKAGE
    # shellcheck disable=SC2016 # dpkg-query's
    dpkg-query -W -f '${Version}' "$1" 2>/dev/null
}

# Source packages by lists of their own: the machine's list of sources with "deb" made "deb-src".
# A security archive may lack what its index names; then the release's own version is taken.
apt_sources=../apt
source_lists() {
    local f
    mkdir -p $apt_sources/parts $apt_sources/lists/partial $apt_sources/cache/archives/partial
    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        [ -r "$f" ] || continue
        case $f in
            *.sources) sed 's/^Types:.*/Types: deb-src/' "$f" >"$apt_sources/parts/${f##*/}" ;;
            *.list) sed -n 's/^deb /deb-src /p' "$f" >"$apt_sources/parts/${f##*/}" ;;
        esac
    done
    cat >$apt_sources/conf <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$PWD/$apt_sources/parts";
Dir::State::lists "$PWD/$apt_sources/lists";
Dir::Cache "$PWD/$apt_sources/cache";
APT::Sandbox::User "root";
CONF
    [ -e $apt_sources/updated ] || APT_CONFIG=$apt_sources/conf apt-get -q update && touch $apt_sources/updated
}

# get_source PACKAGE - unpacks Debian's source of it into ./source, once; its version in ./source-version
get_source() {
    local release
    [ -e source-version ] && return
    need apt-get dpkg-source
    source_lists >&2
    # shellcheck disable=SC1091 # not ours
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    rm -rf source ./*.dsc ./*.tar.*
    APT_CONFIG=$apt_sources/conf apt-get -q source --download-only "$1" >&2 ||
        APT_CONFIG=$apt_sources/conf apt-get -q source --download-only "$1/$release" >&2 ||
        give_up "the source package $1 cannot be fetched"
    dpkg-source --no-check -x ./*.dsc source >&2 || give_up "the source of $1 cannot be unpacked"
    sed -n 's/^Version: //p' ./*.dsc | head -n 1 >source-version
}

suite() {
    case ${1-} in
        prepare | version | what | limit | left) "suite_$1" ;;
        list) suite_list "${2-}" ;;
        settings) suite_settings "$2" "$3" ;;
        run) suite_run "$2" ;;
        *)
            sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
            exit 2
            ;;
    esac
}
