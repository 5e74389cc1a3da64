#!/bin/bash
# Another user prepares the places where reports, messages and records go: symlinks, hard links, files,
# pipes and directories of his. Nothing of ours is written through them, nothing waits, and the program
# runs on.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
[ "$(id -u)" -eq 0 ] || skip "needs root to be two users"
need setpriv mkfifo
victim=65534 attacker=65533
mkdir "$work/bin" && cp "$lib" "$work/bin/libxsigma.so" && chmod 755 "$work" "$work/bin" "$work/bin/libxsigma.so"
as() { # USER COMMAND...
    setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"
}
as $victim true 2>/dev/null || skip "cannot become another user here"

precious=$work/precious
fresh() { # MODE: a directory that everybody may write to, and a file that only the victim may
    rm -rf "$work/place" "$precious"
    mkdir "$work/place" && chmod "$1" "$work/place"
    echo precious >"$precious" && chown $victim "$precious" && chmod 600 "$precious"
}
victim_runs() { # NAME=VALUE...
    as $victim timeout --foreground 20 env "LD_PRELOAD=$work/bin/libxsigma.so" "$@" sh -c 'echo output; exit 3' >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = output ]; } || fail "$label: status $rc, output $(cat "$work/out")"
    [ "$(cat "$precious")" = precious ] || fail "$label: the victim's file was written to"
}

for mode in 1777 0777; do
    for setting in XSIGMA_STATS_FILE 'XSIGMA_STATS=0 XSIGMA_VERBOSE=1 XSIGMA_LOG'; do
        words=()
        read -ra words <<<"$setting"
        where="${words[-1]}=$work/place/report"
        unset 'words[-1]'

        label="$mode $where: a symlink"
        fresh $mode
        as $attacker ln -s "$precious" "$work/place/report"
        victim_runs "${words[@]}" "$where"
        grep -qE 'EPERM|EACCES' "$work/err" || fail "$label: not said: $(cat "$work/err")"

        label="$mode $where: a file that the attacker can read"
        fresh $mode
        as $attacker sh -c "umask 0; : >'$work/place/report'"
        victim_runs "${words[@]}" "$where"
        [ -s "$work/place/report" ] && fail "$label: something was written into it"
        grep -qE 'EPERM|EACCES' "$work/err" || fail "$label: not said: $(cat "$work/err")"

        label="$mode $where: a second name of the victim's file"
        fresh $mode
        ln "$precious" "$work/place/report" # by root: kernels that protect hard links forbid others
        victim_runs "${words[@]}" "$where"

        label="$mode $where: a pipe"
        fresh $mode
        as $attacker sh -c "umask 0; mkfifo '$work/place/report'"
        victim_runs "${words[@]}" "$where"

        label="$mode $where: nothing"
        fresh $mode
        victim_runs "${words[@]}" "$where"
        [ -s "$work/place/report" ] || fail "$label: nothing was written, so the rest proves nothing"
    done
done

# Where a report goes when stderr is stdout: a directory by the victim's name beside the records.
# Where that is refused it lies in /dev/shm, which goes with the test.
place=$XSIGMA_RECORD/xsigma-$victim
[ -e "/dev/shm/xsigma-$victim" ] || trap 'rm -rf "$work" "/dev/shm/xsigma-$victim"' EXIT
aside() { # LABEL
    label="aside: $1"
    fresh 1777
    as $victim timeout --foreground 20 env "LD_PRELOAD=$work/bin/libxsigma.so" sh -c 'echo output; exit 3' >"$work/out" 2>&1
    rc=$?
    { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = output ]; } || fail "$label: status $rc, output $(cat "$work/out")"
    [ "$(cat "$precious")" = precious ] || fail "$label: the victim's file was written to"
}
as $attacker mkdir -m 777 "$place"
aside "a directory of the attacker's"
[ -z "$(ls -A "$place")" ] || fail "$label: a report was put into it"
rm -rf "$place"
mkdir -m 777 "$work/elsewhere"
as $attacker ln -s "$work/elsewhere" "$place"
aside "a symlink to a directory"
[ -z "$(ls -A "$work/elsewhere")" ] || fail "$label: a report was put behind it"
rm -rf "$place"
aside "nothing"
[ -n "$(ls -A "$place")" ] || fail "$label: no report, so the rest proves nothing"
finish
