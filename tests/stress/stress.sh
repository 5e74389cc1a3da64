#!/bin/bash
# The loads of stress.c with the library preloaded, under every back end and every setting of the own
# core; then the same source against the core itself, built with the thread, address and undefined
# behaviour sanitizers.
# stress.sh [SCALE [SEED [LOAD...]]]
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

scale=${1:-1}
seed=${2:-1}
[ $# -gt 2 ] && loads=("${@:3}") || loads=()
stress=$build/tests/stress
for p in plain heap-tsan heap-asan; do
    [ -x "$stress/$p" ] || skip "no $stress/$p: run make tests"
done

said() { # LABEL STATUS
    [ "$2" -eq 0 ] && return
    fail "$1: status $2$([ "$2" -eq 124 ] && echo ' (ran too long)')"
    head -n 40 "$work/out"
}

part() { # PART: of the scale
    awk -v a="$scale" -v b="$1" 'BEGIN { print a * b }'
}

limit_s=$(part 60 | cut -d. -f1)
preloaded() { # PART POLICY [NAME=VALUE...]
    local part=$1 policy=$2
    shift 2
    under "$policy" XSIGMA_STATS_FILE=/dev/null "$@" -- "$stress/plain" "$(part "$part")" "$seed" "${loads[@]}" \
        >"$work/out" 2>&1
    said "$policy $*" $?
}

for policy in "${policies[@]}"; do
    preloaded 0.5 "$policy"
done
preloaded 2 bfc XSIGMA_STATS=0
for setting in "${bfc_settings[@]}" "${hardened_settings[@]}"; do
    # shellcheck disable=SC2086 # words on purpose
    preloaded 0.5 bfc $setting
done

# The core itself: part of the scale, and words for STRESS_HEAP.
cases=('0.5 ' '0.1 nocache' '0.1 nomerge' '0.1 decay' '0.1 limit nodecay')
sanitized() { # PROGRAM, COMMAND...
    local name=$1 c
    shift
    for c in "${cases[@]}"; do
        STRESS_HEAP=" ${c#* }" TSAN_OPTIONS='halt_on_error=1 history_size=4' timeout --foreground "$limit_s" \
            "$@" "$stress/$name" "$(part "${c%% *}")" "$seed" "${loads[@]}" >"$work/out" 2>&1
        said "$name ${c#* }" $?
    done
}
sanitized heap-asan
# gcc's thread sanitizer cannot place its shadow where addresses are spread widely.
fixed=(setarch -R)
"${fixed[@]}" true 2>/dev/null || fixed=()
if "${fixed[@]}" "$stress/heap-tsan" --list >"$work/out" 2>&1; then
    sanitized heap-tsan "${fixed[@]}"
elif grep -q 'unexpected memory mapping' "$work/out"; then
    [ $failures -eq 0 ] && skip "passed but for the thread sanitizer, which does not run here"
else
    said "heap-tsan --list" 1
fi
finish
