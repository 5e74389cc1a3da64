#!/bin/bash
# The switch to a back end, and counting on and off, while other threads allocate: each call is served
# by one state or the other, never by a mixture of both.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

toggle=$(program toggle_stats) && busy=$(program libbusy_start) && slow=$(program slow_switch) || exit 1

# A library the program needs is initialised before any preload, so its threads are there first.
cc=${CC:-cc}
command -v "$cc" >/dev/null || skip "there is no $cc"
echo 'int main(void) { return 0; }' >"$work/starts.c"
"$cc" -o "$work/starts" "$work/starts.c" -Wl,--no-as-needed "$busy" "-Wl,-rpath,${busy%/*}" || {
    fail "cannot link a program with $busy"
    finish
}
"$work/starts" || fail "starts without the library: status $?"
for policy in bfc mimalloc tbb route; do
    [[ " ${policies[*]} " == *" $policy "* ]] || continue
    bad=0
    for ((i = 0; i < 50; i++)); do
        under "$policy" XSIGMA_STATS=0 "$work/starts" >"$work/out" 2>&1
        rc=$?
        [ $rc -eq 0 ] && continue
        bad=$((bad + 1))
        [ $bad -eq 1 ] && echo "$policy: start $i: status $rc: $(head -n 3 "$work/out")"
    done
    [ $bad -eq 0 ] || fail "$policy: $bad of 50 starts with busy threads failed"
    # The same with the switch held after each of its stores.
    settings=("LD_PRELOAD=$lib" XSIGMA_STATS=0 "XSIGMA_CPU_ROUTE=*:$policy")
    [ "$policy" = route ] && settings[2]=XSIGMA_CPU_ROUTE=$route
    timeout --foreground 20 "$slow" env "${settings[@]}" "$work/starts" >"$work/out" 2>&1
    rc=$?
    case $rc in
        0) ;;
        77) cat "$work/out" ;;
        *)
            fail "$policy: a slow switch: status $rc"
            head -n 3 "$work/out"
            ;;
    esac
done

want=$("$toggle") || fail "toggle_stats without the library: status $?"
for policy in "${policies[@]}"; do
    out=$(under "$policy" "XSIGMA_STATS_FILE=$work/t.json" "$toggle" 2>"$work/err")
    rc=$?
    { [ $rc -eq 0 ] && [ "$out" = "$want" ]; } || {
        fail "$policy: counting on and off under load: status $rc: $out"
        head -n 5 "$work/err"
    }
done
finish
