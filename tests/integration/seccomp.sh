#!/bin/bash
# A filter that forbids, one by one and all at once, the system calls that the library may make: real
# programs do what they do there without us, and what is not to be had is said in a line.
# timeout: 600
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need perl sqlite3

run=$(program seccomp_run) && storm=$(program thread_storm) || exit 1
"$run" 1 madvise true || skip "no filter of system calls may be set here"
mapfile -t calls < <("$run" --list)
export PERL_HASH_SEED=0
# shellcheck disable=SC2016 # perl's variables
programs=('perl -e my%h;$h{"k$_"}="v"x($_*7)for(1..900);my$b="x"x3000000;$b.="y"x3000000;print(scalar(keys(%h)),length($b));exit(3)'
    "sqlite3 :memory: select(length(hex(randomblob(100000))));"
    "sh -c echo\${IFS}a|cat;(exit\${IFS}3)"
    "$storm 1")
ran=0
broken=0

# once SETTINGS ERROR CALLS PROGRAM
once() {
    local settings=$1 error=$2 names=$3 rc most
    local -a words
    read -ra words <<<"$4"
    rm -f "$work/report"
    # shellcheck disable=SC2086 # settings are words
    timeout --foreground 30 "$run" "$error" "$names" env LD_PRELOAD="$lib" XSIGMA_STATS_FILE="$work/report" \
        $settings "${words[@]}" >"$work/out" 2>"$work/err" </dev/null
    rc=$?
    ran=$((ran + 1))
    { [ $rc -eq $expected_rc ] && cmp -s "$work/out" "$work/expected"; } ||
        fail "${words[0]##*/} with $settings, error $error of $names: status $rc, not $expected_rc: $(head -c 200 "$work/out"): $(head -n 3 "$work/err")"
    grep -v -E "^xsigma\[-?[0-9]*\]: " "$work/err" | cmp -s - "$work/expected.err" ||
        fail "${words[0]##*/} with $settings, error $error of $names: standard error: $(head -n 3 "$work/err")"
    # One about the record, one about the report, one about the back end; of a child too, which does not
    # know itself for one without getpid.
    most=3
    [[ $names, == *,getpid,* ]] && most=6
    [ "$(wc -l <"$work/err")" -le $((most + $(wc -l <"$work/expected.err"))) ] ||
        fail "${words[0]##*/} with $settings, error $error of $names: too many lines: $(head -n 9 "$work/err")"
}

# Sets what is expected of a program where CALLS fail; false if the filter breaks it without us.
alone() { # ERROR CALLS PROGRAM
    local -a words
    read -ra words <<<"$3"
    timeout --foreground 30 "$run" "$1" "$2" env "${words[@]}" >"$work/expected" 2>"$work/expected.err" </dev/null
    expected_rc=$?
    cmp -s "$work/expected" "$work/usual" && [ $expected_rc -eq $usual_rc ]
} 2>/dev/null # what the shell says of signals

for p in "${programs[@]}"; do
    read -ra words <<<"$p"
    "${words[@]}" >"$work/usual" 2>/dev/null </dev/null
    usual_rc=$?
    for error in 1 38; do # EPERM, ENOSYS
        # The second tells the same of programs without threads.
        [ "$error" = 38 ] && [[ $p != perl* && $p != "$storm"* ]] && continue
        harmless=''
        for c in "${calls[@]}"; do
            if alone $error "$c" "$p"; then
                harmless+=",$c"
            else
                broken=$((broken + 1))
                continue
            fi
            once XSIGMA_CPU_BACKEND=bfc $error "$c" "$p"
        done
        # Together they can break what each alone does not: then as many of them as get by.
        if ! alone $error "$harmless" "$p"; then
            together=''
            for c in ${harmless//,/ }; do
                alone $error "$together,$c" "$p" && together+=",$c"
            done
            harmless=$together
            alone $error "$harmless" "$p" || fail "${words[0]##*/}: not the same twice without us"
        fi
        for settings in "${policies[@]}" XSIGMA_CPU_HARDENED=full XSIGMA_SAMPLE=1; do
            [[ $settings == *=* ]] || settings=XSIGMA_CPU_BACKEND=$settings
            [ "$settings" = XSIGMA_CPU_BACKEND=route ] && settings=XSIGMA_CPU_ROUTE=$route
            once "$settings" $error "$harmless" "$p"
        done
        together=${harmless//[!,]/}
        echo "${words[0]##*/}, error $error: ${#together} of ${#calls[@]} calls fail at once"
    done
done
echo "$ran runs under a filter; $broken filters break the program without us"
finish
