#!/bin/bash
# Advice on programs that provoke it: each rule speaks, names a variable, and with that variable set
# as it says the program does better in what the rule measures. By counts, never by time.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3
program advise
advise=$xs_program
export XSIGMA_RECORD=off
clock='' # a library to go by, instead of time

run() { # REPORT VARIABLE=VALUE... -- COMMAND...
    local report=$1 set=() preload=$XS_LIB
    shift
    while [ "$1" != -- ]; do
        set+=("$1")
        shift
    done
    shift
    [ -z "$clock" ] || preload="$clock $xs_build/tests/hooked/libxsigma.so"
    env LD_PRELOAD="$preload" XSIGMA_STRICT=1 XSIGMA_STATS_FILE="$xs_tmp/$report" XSIGMA_STATS_FORMAT=json \
        ${set[@]+"${set[@]}"} "$@" >out 2>err || fail "$*: status $?: $(cat err)"
}
# field RULE KEY [REPORT]: of what a rule said; nothing where it is silent.
field() {
    python3 - "$@" <<'END'
import json, sys
r = json.load(open(sys.argv[3] if len(sys.argv) > 3 else "before"))
for a in r["advice"]:
    if a["id"] == sys.argv[1]:
        print(a[sys.argv[2]])
        break
END
}
# figure EXPRESSION REPORT: python, of the report r, its core c and its first device g.
figure() {
    python3 - "$@" <<'END'
import json, sys
r = json.load(open(sys.argv[2]))
c = r["cpu"]["core"]
g = r["gpu"][0] if r["gpu"] else None
print(eval(sys.argv[1]))
END
}
# follow RULE VARIABLE EXPRESSION SETTING... -- COMMAND: the rule names the variable, and what it
# suggests brings the figure down to at most three quarters.
follow() {
    local rule=$1 want=$2 expression=$3 set=() name value before after
    shift 3
    xs_runs=$((xs_runs + 1))
    while [ "$1" != -- ]; do
        set+=("$1")
        shift
    done
    shift
    run before ${set[@]+"${set[@]}"} -- "$@" <"$steps"
    name=$(field "$rule" variable)
    value=$(field "$rule" suggested)
    [ "$name" = "$want" ] || {
        fail "$rule: '$name' instead of $want: $(field "$rule" text)"
        return
    }
    run after ${set[@]+"${set[@]}"} "$name=$value" -- "$@" <"$steps"
    [ -z "$(field "$rule" id after)" ] || fail "$rule: it speaks again: $(field "$rule" text after)"
    before=$(figure "$expression" before)
    after=$(figure "$expression" after)
    echo "$rule: $name=$value: $before -> $after"
    python3 -c "import sys; sys.exit(not $after <= 0.75 * $before)" || fail "$rule: $before, then $after"
}
silent() { # RULE SETTING... -- COMMAND
    local rule=$1
    shift
    xs_runs=$((xs_runs + 1))
    run before "$@" <"$steps"
    [ -z "$(field "$rule" id)" ] || fail "$rule speaks: $(field "$rule" text)"
}

# --- the own core ---
steps=/dev/null
# By a clock of the test's: getting a region takes a millisecond, or ten nanoseconds.
clock=$xs_build/tests/programs/libslow_clock.so
[ -e "$clock" ] || fail "there is no $clock"
export CLOCK_READ_NS=10 CLOCK_MAP_NS=1000000
follow bfc-growth XSIGMA_BFC_INITIAL 'c["growth_ns"]' -- "$advise" grow
silent bfc-growth -- "$advise" none
CLOCK_MAP_NS=10
silent bfc-growth -- "$advise" grow
[ "$(figure 'c["growth_steps"]' before)" -gt 3 ] || fail "it grew in one step anyway"
# A page fault takes two microseconds: glibc's malloc has one where it gave memory back before.
CLOCK_MAP_NS=0
export CLOCK_FAULT_NS=2000
slow='sum(r["latency"]["malloc"]["bins"][39:]) / r["latency"]["malloc"]["calls"]'
follow slow-allocation XSIGMA_CPU_BACKEND "$slow if r['latency'] else 0" \
    XSIGMA_CPU_BACKEND=system XSIGMA_SAMPLE=64K XSIGMA_UNWIND=off -- "$advise" bounce
CLOCK_FAULT_NS=0
silent slow-allocation XSIGMA_CPU_BACKEND=system XSIGMA_SAMPLE=64K XSIGMA_UNWIND=off -- "$advise" bounce
clock=''
# Blocks that no thread may keep are all got under the one lock. Which wait is a matter of chance,
# that many do is not.
waits='r["latency"]["lock_waits"]["count"] if r["latency"] else 0'
# (On a busy machine threads may not have run beside each other.)
for _ in {1..8}; do
    run before XSIGMA_CPU_CACHE=0 -- "$advise" contend
    many=$(figure "$waits" before)
    run before XSIGMA_CPU_CACHE=64M -- "$advise" contend
    few=$(figure "$waits" before)
    [ $((4 * few)) -ge "$many" ] || break
done
echo "lock-waits: $many waits, with room to keep blocks $few"
[ $((4 * few)) -lt "$many" ] || fail "lock-waits: room to keep blocks makes no difference"
follow bfc-limit XSIGMA_BFC_LIMIT 'c["failures"]' XSIGMA_BFC_LIMIT=32M -- "$advise" limit
silent bfc-limit XSIGMA_BFC_LIMIT=64M -- "$advise" limit
follow bfc-fragmentation XSIGMA_BFC_COALESCE 'c["fragmentation_permille"]' XSIGMA_BFC_COALESCE=0 \
    XSIGMA_CPU_CACHE=0 XSIGMA_CPU_DECAY=1h -- "$advise" apart
silent bfc-fragmentation XSIGMA_BFC_COALESCE=0 -- "$advise" reserve
follow bfc-over-reserved XSIGMA_BFC_INITIAL \
    '[b for b in r["cpu"]["backends"] if b["name"] == "bfc"][0]["reserved_peak_bytes"]' \
    XSIGMA_BFC_INITIAL=1G -- "$advise" reserve
silent bfc-over-reserved -- "$advise" reserve

# --- which back end: page faults and instructions are the measure ---
run before XSIGMA_CPU_BACKEND=system -- "$advise" bounce
faults=$(cat out)
run after XSIGMA_CPU_BACKEND=bfc -- "$advise" bounce
echo "kernel-time: page faults: $faults -> $(cat out)"
[ $((4 * $(cat out))) -lt "$faults" ] || fail "page faults: $faults, with bfc $(cat out)"
run before XSIGMA_CPU_BACKEND=system -- "$advise" pairs
[ "$(field small-frequent variable)=$(field small-frequent suggested)" = XSIGMA_CPU_BACKEND=bfc ] ||
    fail "small-frequent: $(field small-frequent text)"
silent small-frequent XSIGMA_CPU_BACKEND=bfc -- "$advise" pairs
silent small-frequent XSIGMA_CPU_BACKEND=system -- "$advise" grow
if command -v valgrind >/dev/null; then
    for backend in system bfc; do
        env LD_PRELOAD="$XS_LIB" XSIGMA_STATS_FILE=/dev/null XSIGMA_CPU_BACKEND=$backend valgrind --tool=callgrind \
            --callgrind-out-file=/dev/null "$advise" pairs >out 2>err
        sed -n 's/.*Collected : //p' err >$backend.instructions
    done
    echo "small-frequent: instructions: $(cat system.instructions) -> $(cat bfc.instructions)"
    [ "$(cat bfc.instructions)" -lt "$(cat system.instructions)" ] || fail "bfc takes more instructions"
fi

# --- devices ---
fakes=$xs_build/tests/cuda
[ -e "$fakes/libcuda.so.1" ] || skip "passed but for devices: the fakes are not built"
export LD_LIBRARY_PATH=$fakes XSIGMA_GPU_LOW_FREE=0
program gpu_steps
gpu=$xs_program
steps=$xs_tmp/steps
# blocks COUNT SIZE: as many are allocated, then freed.
blocks() {
    for ((i = 0; i < $1; i++)); do echo "m $2"; done
    for ((i = 0; i < $1; i++)); do echo f; done
}
M=$((1 << 20))

for _ in {1..30}; do blocks 40 $M; done >steps
follow gpu-hit-rate XSIGMA_GPU_CACHE_MAX '1000 - g["hit_permille"]' XSIGMA_GPU_CACHE_MAX=4M -- "$gpu"
silent gpu-hit-rate -- "$gpu"

{
    blocks 600 $((M / 8)) # none is freed before all are there
    blocks 600 $((M / 4))
} >steps
follow gpu-hit-rate XSIGMA_GPU_BACKEND '1000 - g["hit_permille"]' -- "$gpu"
silent gpu-hit-rate XSIGMA_GPU_BACKEND=bfc -- "$gpu"

for _ in {1..5}; do
    blocks 40 $M
    blocks 20 $((2 * M))
done >steps
follow gpu-oom XSIGMA_GPU_CACHE_MAX 'g["flushes"]' FAKE_CUDA_MEMORY=$((64 * M)) -- "$gpu"
silent gpu-oom -- "$gpu"

{
    blocks 20 $M
    blocks 10 $((2 * M))
} >steps
follow gpu-over-reserved XSIGMA_GPU_CACHE_MAX 'g["reserved_bytes_peak"]' -- "$gpu"
blocks 20 $M >steps
silent gpu-over-reserved -- "$gpu"
# Sizes by turns: with less room each turn would go to the driver, and the advice be to have more.
for _ in {1..10}; do
    blocks 20 $M
    blocks 10 $((2 * M))
done >steps
silent gpu-over-reserved -- "$gpu"

# Each call of the driver takes a tenth of a millisecond; a few in a hundred blocks need two.
for _ in {1..20}; do
    echo 'n 100'
    blocks 40 $M
done >steps
clock=$xs_build/tests/programs/libslow_clock.so
CLOCK_READ_NS=100000
follow gpu-slow-allocation XSIGMA_GPU_CACHE_MAX 'g["driver_ns"]' XSIGMA_GPU_CACHE_MAX=36M -- "$gpu"
silent gpu-slow-allocation -- "$gpu"
clock=''

echo 'n 2000' >steps
follow gpu-small-frequent XSIGMA_GPU_BACKEND 'g["driver_mallocs"]' XSIGMA_GPU_BACKEND=direct -- "$gpu"
silent gpu-small-frequent -- "$gpu"

# Every size once; a second passes, as the rule wants to see a rate.
{
    for ((k = 0; k < 25; k++)); do blocks 1 $((3 * M << (k / 8) | k * M / 2)); done
    echo sleep
} >steps
follow gpu-large-rare XSIGMA_GPU_ROUTE 'g["cached_bytes_peak"]' -- "$gpu"
grep -v sleep steps >steps.quick
steps=$xs_tmp/steps.quick
silent gpu-large-rare -- "$gpu"
finish
