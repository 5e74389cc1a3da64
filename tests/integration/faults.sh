#!/bin/bash
# Every system call that the library makes fails, one at a time, for every N until a run gets by with
# fewer: the program ends as it does without, or, where it was memory that could not be had, as it
# itself ends then. faults.sh [CALL...]
# timeout: 600
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need perl sqlite3
injector=$(program libfault) || exit 1
[ "$lib" != "$build/libxsigma.so" ] || lib=$build/tests/hooked/libxsigma.so
ulimit -c 0
cat >"$work/perl" <<'END'
my %h; my @a;
for my $i (1..3000) { $h{"key$i"} .= "v" x ($i % 200); push @a, [split //, $h{"key$i"}] if $i % 9 == 0; }
my $big = "x" x 3000000; $big .= "y" x 3000000;
print scalar(keys %h), " ", scalar(@a), " ", length($big), "\n";
END
export PERL_HASH_SEED=0
programs=("perl $work/perl" "sqlite3 :memory: 'create table t(a); insert into t values(randomblob(100000)); select length(a) from t'"
    "sh -c 'echo a | cat; (exit 3)'")
injected=0
runs=0

# once CALL N ERROR AFTER SETTING PROGRAM: false when the call was never reached.
once() {
    local call=$1 n=$2 error=$3 after=$4 setting=$5 p=$6 rc failed
    # dash without any memory recurses until its stack is full, whoever serves malloc.
    [ "$call$after" = mmapafter ] && [ "${p%% *}" = sh ] && return
    rm -f "$work/log"
    eval "exec timeout --foreground 20 env LD_PRELOAD='$lib $injector' FAULT_CALL=$call FAULT_AT=$n FAULT_ERROR=$error ${after:+FAULT_AFTER=1} \
        FAULT_LOG=$work/log 'XSIGMA_STATS_FILE=$work/report' $setting $p" >"$work/out" 2>"$work/err" </dev/null &
    wait $!
    rc=$?
    runs=$((runs + 1))
    # perl_alloc of 5.34 writes to an interpreter that it got no memory for.
    [ "$call$after ${p%% *} $rc" = 'mmapafter perl 139' ] && perl -e 'exit !($] < 5.036)' && rc=1
    failed=0
    # One line a process; one that _exit ends tells nothing.
    [ -r "$work/log" ] && failed=$(awk '{ n += $2 } END { print n + 0 }' "$work/log")
    injected=$((injected + failed))
    if [ $rc -eq 124 ] || [ $rc -ge 128 ]; then
        fail "$call number $n${after:+ and after} fails with $error, $setting, ${p%% *}: status $rc: $(head -n 3 "$work/err")"
    elif [ "$rc" -ne "$expected_rc" ] || ! cmp -s "$work/out" "$work/expected"; then
        # The program may run out of memory, and says so with a status of its own.
        { [ "$call" = mmap ] && [ $rc -ne 0 ]; } ||
            fail "$call number $n${after:+ and after} fails with $error, $setting, ${p%% *}: status $rc, output $(head -c 200 "$work/out"): $(head -n 3 "$work/err")"
    fi
    [ "$failed" -gt 0 ]
}

# all CALL ERROR SETTING
all() {
    local call=$1 error=$2 setting=$3 p n misses
    for p in "${programs[@]}"; do
        eval "$p" >"$work/expected" 2>/dev/null </dev/null
        expected_rc=$?
        misses=0
        for ((n = 1; n < 400 && misses < 2; n++)); do
            if once "$call" $n "$error" '' "$setting" "$p"; then misses=0; else misses=$((misses + 1)); fi
        done
        [ "$error" = $EINTR ] && continue # for ever is nothing that a kernel does
        for n in 1 2 5; do
            once "$call" $n "$error" after "$setting" "$p"
        done
    done
}

ENOMEM=12 EINTR=4 ENOSPC=28 EMFILE=24 EACCES=13 EBADF=9 EAGAIN=11 EPERM=1
bfc=XSIGMA_CPU_BACKEND=bfc
work_calls=("mmap $ENOMEM" "munmap $ENOMEM" "madvise $EAGAIN" "mprotect $ENOMEM" "open $EMFILE" "open $EINTR" "read $EINTR"
    "write $ENOSPC" "write $EINTR" "fstat $EBADF" "fcntl $EMFILE" "pthread_key_create $EAGAIN"
    "pthread_setspecific $ENOMEM" "open $EACCES" "mprotect $EPERM" "fallocate $ENOSPC" "ftruncate $ENOSPC"
    "pwrite $ENOSPC" "mkdir $EACCES" "rename $EACCES")
for c in "${work_calls[@]}"; do
    read -r call error <<<"$c"
    [ $# -eq 0 ] || [[ " $* " == *" $call "* ]] || continue
    all "$call" "$error" "$bfc"
done
# The thread of ours, in a program that has some.
storm=$(program thread_storm) || exit 1
ordinary=("${programs[@]}")
programs=("$storm 2")
for c in "pthread_create $EAGAIN" "mmap $ENOMEM"; do
    read -r call error <<<"$c"
    [ $# -eq 0 ] || [[ " $* " == *" $call "* ]] || continue
    before=$injected
    all "$call" "$error" "$bfc"
    [ "$injected" -gt "$before" ] || fail "no $call of ours was made to fail beside threads"
done
programs=("${ordinary[@]}")
for c in "mmap $ENOMEM" "mprotect $ENOMEM"; do
    read -r call error <<<"$c"
    [ $# -eq 0 ] || [[ " $* " == *" $call "* ]] || continue
    all "$call" "$error" "$bfc XSIGMA_CPU_HARDENED=full"
done
echo "$runs runs, $injected calls failed"
[ $# -gt 0 ] || [ "$injected" -gt 50 ] || fail "only $injected calls were made to fail"
finish
