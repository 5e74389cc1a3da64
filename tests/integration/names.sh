#!/bin/bash
# What people look for by name: every verb has --help with its statuses, a part of the man page and
# completions; all of them name the same options; installing puts them in place; output is plain.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
xsigma=$xs_build/xsigma
man=$xs_root/docs/xsigma.1
xs_runs=1

# The man page as a reader sees it: no font requests, no escaped hyphens.
plain=$(sed -e 's/\\f[BRIP]//g' -e 's/\\-/-/g' "$man")
verbs=$("$xsigma" --help | sed -n 's/^  \([a-z]*\) .*/\1/p')
[ "$(echo "$verbs" | wc -w)" -ge 9 ] || fail "verbs: $verbs"

# complete_for WORD...: sets COMPREPLY as bash would for the last word.
# shellcheck source=../../scripts/xsigma.bash
. "$xs_root/scripts/xsigma.bash"
complete_for() {
    COMP_WORDS=("$xsigma" "$@")
    COMP_CWORD=$#
    _xsigma 2>/dev/null
}
offers() { # WORD
    local w
    for w in "${COMPREPLY[@]}"; do
        [ "$w" = "$1" ] && return
    done
    fail "no completion $1 after '${COMP_WORDS[*]:1}': ${COMPREPLY[*]}"
}

for verb in $verbs; do
    help=$("$xsigma" "$verb" --help) || fail "$verb --help: status $?"
    [ "$help" = "$("$xsigma" help "$verb")" ] || fail "help $verb is not $verb --help"
    [[ $help == "usage: xsigma $verb"* ]] || fail "$verb --help: $help"
    case $verb in
        vars | help) ;;
        *) [[ $help == *"Exit status: "* ]] || fail "$verb --help says nothing of its status" ;;
    esac
    [ "$(awk 'length > 100' <<<"$help" | wc -l)" = 0 ] || fail "$verb --help is too wide"
    grep -q "^$verb\b" <<<"$plain" || fail "no $verb in the man page"
    complete_for ''
    offers "$verb"
    complete_for help ''
    offers "$verb"
    # Options as the help has them: in the man page's part, and offered.
    part=$(awk -v v="$verb" '/^\.TP/ { on = 0; next } $1 == v { on = 1 } on' <<<"$plain")
    for option in $(sed '/^Exit status/,$d' <<<"$help" | grep -oE '(^| |\[)--[a-z]+' | grep -oE '\-\-[a-z]+' | sort -u); do
        case $verb:$option in
            doctor:--* | tune:--preset | tune:--set | tune:--lib) ;;
            *) grep -qe "$option" <<<"$part" || fail "the man page's $verb has no $option" ;;
        esac
        [ "$verb" = gpu ] || complete_for "$verb" --
        [ "$verb" = gpu ] && complete_for gpu ''
        offers "$option"
    done
done
# No verb that is gone.
for verb in $(sed -n '/^\.SH VERBS/,/^\.SH EXIT/p' <<<"$plain" | grep -A1 '^\.TP' | awk '!/^(\.TP|--)/ { print $1 }'); do
    grep -qx "$verb" <<<"$verbs" || fail "the man page has $verb, which is none"
done
for status in 0 1 2 64 126 127; do
    grep -qE "^\.B $status\$" "$man" || fail "no exit status $status in the man page"
done

# Behind an option too, whether it takes a value or not.
for words in 'report --json' 'report --kind live' 'run --json x' 'tune -n 3'; do
    # shellcheck disable=SC2086 # words on purpose
    "$xsigma" $words --help >out 2>&1 || fail "$words --help: $(cat out)"
    grep -q '^usage: ' out || fail "$words --help: $(cat out)"
done

complete_for tune --objective ''
offers gpu-peak
complete_for run --preset m
offers monte-carlo
complete_for run --set CPU_B
offers CPU_BACKEND=
# bash hands "=" over as a word.
complete_for tune --objective = r
offers rss
for words in '--set CPU_BACKEND = m' '--set = CPU_BACKEND = m' '--set XSIGMA_CPU_BACKEND ='; do
    # shellcheck disable=SC2086 # words on purpose
    complete_for run $words
    offers mimalloc
done
touch mine
complete_for run ./app CPU_BACKEND = m
offers mine
LD_PRELOAD=$xs_root/build/libxsigma.so sleep 20 &
pid=$!
for _ in {1..100}; do
    grep -q libxsigma /proc/$pid/maps && break
    sleep 0.05
done
for words in 'top' 'report'; do
    complete_for $words ''
    offers $pid
done
complete_for top ''
for w in "${COMPREPLY[@]}"; do
    [ "$w" != mine ] || fail 'top: a file is proposed'
done
kill $pid
[ "$(bash -c '. "$1" && complete -p xsigma' - "$xs_root/scripts/xsigma.bash")" ] || fail 'no completion in a new shell'

if command -v groff >/dev/null; then
    groff -man -ww -z -Tascii "$man" 2>warnings || fail 'groff'
    [ ! -s warnings ] || fail "groff: $(cat warnings)"
fi

# Everything that documents name for installing is there after it, in a directory with a space too.
make -C "$xs_root" -s install PREFIX=/usr DESTDIR="$xs_tmp/a root" >make.out 2>&1 || fail "install: $(tail -n 3 make.out)"
for f in share/man/man1/xsigma.1 share/bash-completion/completions/xsigma bin/xsigma lib/libxsigma.so; do
    [ -s "a root/usr/$f" ] || fail "install: no $f"
done
# Installed again the library is never missing or half there: programs start with it meanwhile.
if command -v strace >/dev/null; then
    strace -f -qq -o calls -e trace=openat,open,creat,unlink,unlinkat \
        make -C "$xs_root" -s install PREFIX=/usr DESTDIR="$xs_tmp/a root" >make.out 2>&1 ||
        fail "install again: $(tail -n 3 make.out)"
    grep -q '/libxsigma.so.*O_CREAT' calls || fail 'install again: nothing was written'
    ! grep -E '/usr/lib/libxsigma\.so".*(O_CREAT|O_TRUNC)|unlink.*/usr/lib/libxsigma\.so"' calls ||
        fail 'install again: the name of the library stands for nothing or for half of it'
fi
make -C "$xs_root" -s uninstall PREFIX=/usr DESTDIR="$xs_tmp/a root" >make.out 2>&1
[ -z "$(find "a root" -type f)" ] || fail "uninstall leaves $(find "a root" -type f)"

# The table that is asked for is the output, as that of `vars` is; without one it is said all the same.
XSIGMA_HELP=1 LD_PRELOAD=$xs_root/build/libxsigma.so /bin/false >help 2>err || fail "XSIGMA_HELP: status $?"
[ ! -s err ] || fail "XSIGMA_HELP: standard error: $(head -n 2 err)"
for v in XSIGMA_CPU_BACKEND=bfc XSIGMA_HELP=1 XSIGMA_UNWIND=libunwind; do
    grep -q "^$v " help || fail "XSIGMA_HELP: no line $v"
done
XSIGMA_HELP=1 LD_PRELOAD=$xs_root/build/libxsigma.so /bin/false >&- 2>err
grep -q '^XSIGMA_CPU_BACKEND=bfc ' err || fail "XSIGMA_HELP: nothing without standard output"

# Plain output where it is no terminal, and ASCII without UTF-8, with and without NO_COLOR.
for set in A=1 NO_COLOR=1 LC_ALL=C TERM=xterm-256color; do
    env "$set" "$xsigma" --help >out 2>&1
    env "$set" "$xsigma" run --set STATS=1 /bin/true >>out 2>&1
    env "$set" "$xsigma" tune -n 1 --candidate CPU_BACKEND=system -- /bin/true >>out 2>&1
    env "$set" "$xsigma" frobnicate >>out 2>&1
    if LC_ALL=C grep -qP '\x1b|\r' out; then fail "$set: control sequences in $(cat -v out)"; fi
    if LC_ALL=C grep -qP '[^\x00-\x7f]' out; then fail "$set: not ASCII: $(cat -v out)"; fi
done
finish
