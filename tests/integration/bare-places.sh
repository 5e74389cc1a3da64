#!/bin/bash
# Where the system lacks something that is usually there: /proc, /dev/shm, descriptors, address space,
# a working directory. The program does what it does without the library; and when processes of a tree
# are stopped or killed, the others go on and nothing is left behind.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need perl
ulimit -c 0
perl='my %h; $h{"k$_"} = "v" x $_ for 1..2000; print scalar(keys %h), "\n"; exit 3'
export PERL_HASH_SEED=0

same() { # LABEL SETTING COMMAND... : prints 2000, status 3, in 30 s
    local label=$1 setting=$2 rc
    shift 2
    timeout --foreground 30 "$@" env "LD_PRELOAD=$lib" "XSIGMA_CPU_HARDENED=$setting" XSIGMA_STATS_FILE="$work/report" perl -e "$perl" >"$work/out" 2>"$work/err"
    rc=$?
    { [ $rc -eq 3 ] && [ "$(cat "$work/out")" = 2000 ]; } || fail "$label, $setting: status $rc, output $(head -c 100 "$work/out"): $(head -n 3 "$work/err")"
}

for setting in off full; do
    same "as usual" $setting env
    same "stdin closed" $setting bash -c 'exec "$@" <&-' bash
    same "stderr closed" $setting bash -c 'exec "$@" 2>&-' bash
    same "12 descriptors" $setting bash -c 'ulimit -n 12; exec "$@"' bash
    same "1000 MB of addresses" $setting bash -c 'ulimit -v 1000000; exec "$@"' bash
    same "no files" $setting bash -c '(ulimit -f 0; exec "$@") | cat; exit ${PIPESTATUS[0]}' bash
    same "no locked memory" $setting bash -c 'ulimit -l 0; exec "$@"' bash
    same "a directory that is gone" $setting bash -c 'mkdir gone && cd gone && rmdir ../gone && exec "$@"' bash
done
bash -c 'exec "$@" >&-' bash env "LD_PRELOAD=$lib" "XSIGMA_STATS_FILE=$work/report" perl -e 'exit 3' 2>/dev/null
[ $? -eq 3 ] || fail "stdout closed"

if unshare -m true 2>/dev/null; then
    for setting in off full; do
        same "no /proc" $setting unshare -m bash -c 'mount -t tmpfs none /proc && exec "$@"' bash
        grep -q '^xsigma [0-9.]*  perl' "$work/report" || fail "no /proc: another program in $(head -n 1 "$work/report")"
        grep -q '^  RSS  *-  *-  *-' "$work/report" || fail "no /proc: resident memory is known: $(grep RSS "$work/report")"
        same "no /dev/shm" $setting unshare -m bash -c 'mkdir -p /dev/shm && mount -t tmpfs -o ro none /dev/shm && exec "$@"' bash
        same "a full /dev/shm" $setting unshare -m bash -c 'mount -t tmpfs -o size=4k none /dev/shm && echo >/dev/shm/x; exec "$@"' bash
        same "nothing in /sys" $setting unshare -m bash -c 'mount -t tmpfs -o ro none /sys && exec "$@"' bash
    done
else
    without=' but for mounts, which are not allowed here'
fi

# One of eight is stopped, one killed, while all fork and allocate.
cat >"$work/tree" <<'END'
my @pid;
for my $n (0..7) {
    my $pid = fork();
    if ($pid == 0) { my @a; for (1..300) { push @a, "x" x (100 * $_); if ($_ % 50 == 0) { my $c = fork(); exit 0 if $c == 0; waitpid($c, 0); } } exit 0; }
    push @pid, $pid;
}
kill 'STOP', $pid[2]; kill 'KILL', $pid[5];
my $ended = 0;
for my $n (0, 1, 3, 4, 6, 7) { waitpid($pid[$n], 0); $ended++ if $? == 0; }
kill 'CONT', $pid[2]; waitpid($pid[2], 0); $ended++ if $? == 0;
waitpid($pid[5], 0);
print "$ended\n";
END
for setting in off check full; do
    for policy in "${policies[@]}"; do
        under "$policy" "XSIGMA_CPU_HARDENED=$setting" "XSIGMA_STATS_FILE=$work/report" XSIGMA_LOG=off -- perl "$work/tree" >"$work/out" 2>"$work/err"
        rc=$?
        { [ $rc -eq 0 ] && [ "$(cat "$work/out")" = 7 ]; } || fail "$policy $setting: a tree with one stopped and one killed: status $rc, $(cat "$work/out"): $(head -n 3 "$work/err")"
    done
done
[ $failures -ne 0 ] || [ -z "${without-}" ] || skip "passed$without"
finish
