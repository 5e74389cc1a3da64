#!/bin/bash
# `xsigma gpu` reaches a process that knows nothing of it: lists, asks and tells it; refuses what is
# not the user's own; and a process's file goes when it ends, in whatever way.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda
[ -r "$fakes/libcuda.so.1" ] || skip "the fakes are not built: make tests"
[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
xsigma=$xs_build/xsigma
program gpu_steps
file() {
    echo "$XSIGMA_RECORD/xsigma-$(id -u)-$1"
}

start() { # VARIABLE=VALUE...: a process that waits for steps
    xs_runs=$((xs_runs + 1))
    coproc STEPS {
        LD_PRELOAD=$XS_LIB LD_LIBRARY_PATH=$fakes XSIGMA_STATS=0 exec env "$@" \
            "$xs_program" 2>"$xs_tmp/steps.err"
    }
    steps=$STEPS_PID
}
step() { # LINE [CODE]
    local answer=
    echo "$1" >&"${STEPS[1]}"
    read -r -t 20 answer <&"${STEPS[0]}"
    [ "$answer" = "$1 ${2-0}" ] || fail "step '$1': '$answer': $(cat "$xs_tmp/steps.err")"
}
# The last step, which ends the process.
end() { # LINE
    echo "$1" >&"${STEPS[1]}"
    wait "$steps" 2>/dev/null
}
# asking STEP WORDS...: sets got, while the process does this step all the time. On a machine with much
# other work two seconds may pass between two of the steps, and then nothing was done: once more.
asking() {
    local doing=$1 asked tries
    shift
    for tries in 1 2 3 4 5 6 7 8; do
        "$xsigma" gpu "$@" >out 2>err &
        asked=$!
        while kill -0 $asked 2>/dev/null; do
            step "$doing"
            [ "${doing% *}" != m ] || step f
            sleep 0.02
        done
        wait $asked
        got=$?
        grep -q 'has not called CUDA for 2 seconds; nothing was done' err || return
    done
    fail "gpu $*: no answer to the last of $tries times"
}
# ask STATUS WORDS...: while the process goes on allocating.
ask() {
    local want=$1 got
    shift
    asking "m 64" "$@"
    [ "$got" -eq "$want" ] || fail "gpu $*: status $got instead of $want: $(cat out err)"
}
# refused STATUS TEXT WORDS...: nobody answers.
refused() {
    local want=$1 text=$2 got
    shift 2
    "$xsigma" gpu "$@" >out 2>err
    got=$?
    [ "$got" -eq "$want" ] || fail "gpu $*: status $got instead of $want: $(cat out err)"
    grep -qF -- "$text" err || fail "gpu $*: no '$text': $(cat err)"
}
has() {
    grep -qE -- "$1" out || fail "no '$1' in: $(cat out err)"
}

# --- without a process ---
refused 0 "no process of yours uses CUDA"
refused 64 "the number of a process is needed" stats
refused 64 "is no size" limit
refused 64 "is no size" limit lots 5
refused 64 "the number of a process is needed" limit 5M
refused 64 "is no number of a process" clear x
refused 64 "is no number of a process" clear 0
refused 64 "is too much" clear 1 2
refused 64 "is no option" clear -5
refused 64 "is no number of a device" clear --device 64 1
refused 64 "is no number of a device" clear --device
refused 64 "did you mean 'clear'?" claer 1
refused 1 "no such process of yours" clear 1
"$xsigma" gpu --help | grep -q '^usage: xsigma gpu' || fail "no help"
"$xsigma" gpu clear --help | grep -q '^usage: xsigma gpu' || fail "no help of clear"

# --- a process with a full cache ---
start
[ -z "$(ls "$XSIGMA_RECORD")" ] || fail "a file before CUDA was used"
step "m 1000000"
[ -f "$(file "$steps")" ] || fail "no file after CUDA was used: $(ls -l "$XSIGMA_RECORD")"
[ "$(stat -c %a "$(file "$steps")")" = 600 ] || fail "others may read the file"
step "m 2000000"
step f
step f
"$xsigma" gpu >out 2>err
has "^$steps gpu_steps\$"
ask 0 stats "$steps"
has '^GPU  '
has '^  0  '
has 'by caching'
ask 0 clear "$steps"
has '^GPU 0: cached 2.8[0-9] MiB -> '
has 'reserved 2.8[0-9] MiB -> '
step "m 3000000"
step f
ask 0 limit 1M "$steps"
has '^GPU 0: cached 2.8[0-9] MiB -> .*limit of the cache 1.00 MiB$'
step "m 3000000"
step f
ask 0 stats --device=0 "$steps"
has ' cached .limit 1.00 MiB.'
ask 0 defragment --device 0 "$steps"
has '^GPU 0: cached '
ask 1 clear --device 7 "$steps"
grep -q 'No such device' err || fail "device 7: $(cat err)"

# --- one that does nothing: in bounded time, and nothing happens later ---
step "m 500000"
step f
started=$EPOCHREALTIME
refused 1 "has not called CUDA for 2 seconds; nothing was done" clear "$steps"
ms=$(((${EPOCHREALTIME/./} - ${started/./}) / 1000))
[ $ms -ge 1900 ] && [ $ms -lt 30000 ] || fail "waited $ms ms"
step "m 600000"
ask 0 stats "$steps"
has '^  0 .* 48[0-9] KiB '

# --- many frees without a miss are looked at too ---
asking "n 1000" stats "$steps"
[ "$got" -eq 0 ] || fail "a thousand hits and no answer: $(cat err)"

# --- what is not the user's own plain file ---
cp "$(file "$steps")" copy
rm "$(file "$steps")"
ln -s "$xs_tmp/copy" "$(file "$steps")"
refused 1 "refused" clear "$steps"
rm "$(file "$steps")"
install -m 622 copy "$(file "$steps")"
refused 1 "refused" clear "$steps"
if [ "$(id -u)" = 0 ]; then
    install -m 600 -o 65534 copy "$(file "$steps")"
    refused 1 "refused" clear "$steps"
fi
head -c 4096 copy >"$(file "$steps")"
chmod 600 "$(file "$steps")"
chown "$(id -u)" "$(file "$steps")"
refused 1 "damaged" clear "$steps"
rm -f "$(file "$steps")"
end exit

# --- the file goes at the end, and is the process's own ---
for way in exit _exit abort; do
    start
    step "m 4096"
    step fork
    [ -f "$(file "$steps")" ] || fail "a child took its parent's file"
    ask 0 stats "$steps"
    end $way
    [ ! -e "$(file "$steps")" ] || fail "a file is left after $way"
done
start
step "m 4096"
echo exec >&"${STEPS[1]}"
step "m 8192"
ask 0 stats "$steps"
has '^GPU  '
sleep 0.02 # so long between two looks at what is written down
step "m 16384"
end kill
[ -f "$(file "$steps")" ] || fail "the test itself: no file is left after SIGKILL"
refused 1 "the process is gone" stats "$steps"
"$xsigma" report "$steps" >out 2>err || fail "no report of it: $(cat err)"
has '^GPU  '
has 'ended without a report'
rm -f "$(file "$steps")"

# --- off, or no directory: the program goes on ---
start XSIGMA_RECORD=off
step "m 4096"
[ -z "$(ls "$XSIGMA_RECORD")" ] || fail "a file although off"
end exit
[ ! -s "$xs_tmp/steps.err" ] || fail "a message although off: $(cat "$xs_tmp/steps.err")"
start XSIGMA_RECORD=/nonexistent
step "m 4096"
step "m 8192"
end exit
[ "$(grep -c "no record in /nonexistent (ENOENT)" "$xs_tmp/steps.err")" = 1 ] ||
    fail "not one message: $(cat "$xs_tmp/steps.err")"
start XSIGMA_GPU=0
step "m 4096"
[ -z "$(ls "$XSIGMA_RECORD")" ] || fail "a file without the shim"
end exit
finish
