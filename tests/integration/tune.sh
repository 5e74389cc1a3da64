#!/bin/bash
# xsigma tune: what it tries and counts, what it says when there is a difference and when there is
# none, what is out, what it leaves behind. Nothing here goes by time: memory is the objective.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
xsigma=$xs_build/xsigma
export TMPDIR=$xs_tmp/tmp
mkdir -p "$TMPDIR"
xs_runs=1

tune() { # STATUS ARGUMENT...
    local want=$1
    shift
    "$xsigma" tune "$@" >out 2>err </dev/null
    local rc=$?
    [ $rc -eq "$want" ] || fail "tune $*: status $rc, not $want: $(cat out err)"
    [ -z "$(ls -A "$TMPDIR")" ] || fail "tune $*: leaves $(ls "$TMPDIR")"
}
has() { grep -qF -- "$1" out || fail "no '$1' in: $(cat out)"; }
hasnt() { ! grep -qF -- "$1" out || fail "'$1' in: $(cat out)"; }
says() { grep -qF -- "$1" err || fail "no '$1' in: $(cat err)"; }

# --- usage ---
tune 64
tune 64 -n 0 true
tune 64 -n x true
tune 64 --objective tiem true
says 'did you mean time?'
tune 64 --candidate CPU_BAKCEND=tbb true
tune 64 --candidate CPU_BACKEND=mimaloc true
says 'system|mimalloc|tbb'
tune 64 --candidate '' true
tune 64 --frobnicate 1 true
tune 64 --seed
tune 127 no-such-program

tune 0 -n 3 --candidate CPU_ALIGN=32 false
says 'as it is ends with status 1'
tune 0 -n 3 --candidate CPU_ALIGN=32 true
! grep -q 'ends with status' err || fail "a status that is none: $(cat err)"

# --- a difference, whatever the machine does: the program takes what a variable says ---
cat >big.py <<'END'
import os, sys
size = 200 if os.environ.get("XSIGMA_CPU_ALIGN") == "64" else 20
data = bytearray(size << 20)
print("done", len(data) > 0)
END
py=/usr/bin/python3
need $py
tune 0 -n 3 --objective rss --seed 7 --save saved --set CPU_ALIGN=64 --candidate CPU_ALIGN=32 \
    --candidate 'XSIGMA_CPU_ALIGN=16 CPU_BACKEND=system' --candidate CPU_ALIGN=128 -- $py big.py
has 'seed 7'
grep -qE '^  candidate .* change +time$' out || fail "heads: $(cat out)"
grep -qE '^\* CPU_ALIGN=.* 3 +-[0-9.]+% +[-+][0-9.]+%$' out || fail "no change of the time: $(cat out)"
grep -qE '^\* CPU_ALIGN=(32|128|16 CPU_BACKEND=system) ' out || fail "chosen: $(cat out)"
grep -qE '^export XSIGMA_CPU_ALIGN=' out || fail "exports: $(cat out)"
has '-8'
grep -qE '^XSIGMA_CPU_ALIGN=(32|128|16)$' saved || fail "saved: $(cat saved)"
# Where nothing can be saved it says so before the runs.
tune 1 -n 3 --save /nonexistent/saved --candidate CPU_ALIGN=32 -- touch ran
[ ! -e ran ] || fail "the program was run, though nothing could be saved"
tune 64 -n 3 --save -- touch ran
env XSIGMA_CONFIG="$PWD/saved" XSIGMA_VERBOSE=1 LD_PRELOAD="$XS_LIB" /bin/true 2>verbose
grep -q 'CPU_ALIGN' verbose || fail "the saved file has no effect: $(cat verbose)"
hasnt 'no significant'
hasnt 'done True'

# What was given and is not set otherwise belongs to the exports; the difference must be real.
tune 0 -n 3 --objective rss --set CPU_ALIGN=64 --set STATS_INTERVAL=1min --candidate CPU_ALIGN=64 -- $py big.py
has 'no significant difference'
has "export XSIGMA_CPU_ALIGN='64'"
has "export XSIGMA_STATS_INTERVAL='1min'"

# Fewer than three runs tell nothing, whatever they are.
tune 1 -n 2 --objective rss --set CPU_ALIGN=64 --candidate CPU_ALIGN=32 -- $py big.py
has 'nothing can be told'

# --- who is out ---
cat >picky.sh <<'END'
case $XSIGMA_CPU_ALIGN in
    32) exit 3 ;;
    64) kill -KILL $$ ;;
    128) echo wrong ;;
    *) echo right ;;
esac
END
tune 0 -n 3 --objective rss --check 'grep -qx right' --candidate CPU_ALIGN=32 --candidate CPU_ALIGN=64 \
    --candidate CPU_ALIGN=128 --candidate CPU_ALIGN=16 -- sh picky.sh
has "out: exit status 3, the baseline's is 0"
has 'out: killed by signal 9 (Killed)'
has 'out: the check failed'
grep -qE '^[* ] CPU_ALIGN=16 .*  3  ' out || fail "of the good one: $(cat out)"
tune 1 -n 3 --check false -- sh picky.sh
says 'the check failed'
tune 1 -n 3 --set CPU_ALIGN=64 -- sh picky.sh
says 'killed by signal 9'
# One that hangs, and what it has started, which ignores the signals that can be ignored.
cat >hangs.sh <<'END'
[ "$XSIGMA_CPU_ALIGN" != 32 ] || sh -c 'trap "" TERM INT HUP; sleep 1000.75; :' &
wait
END
tune 0 -n 3 --timeout 6s --objective rss --candidate CPU_ALIGN=32 --candidate CPU_ALIGN=16 -- sh hangs.sh
has 'out: did not end within 6'
grep -qE '^[* ] CPU_ALIGN=16 .*  3  ' out || fail "of the one that ends: $(cat out)"
pgrep -f '^sleep 1000[.]75$' >/dev/null && fail 'what a run has started is still there'
tune 1 -n 3 --timeout 1s -- sleep 1000.75
says 'the program as it is: did not end within 1'
# shellcheck disable=SC2016 # for the shells that are started
tune 0 -n 3 --timeout 6s --check 'if [ "$(wc -c)" = 0 ]; then :; else sleep 1000.75; fi' --objective rss \
    --candidate CPU_ALIGN=32 -- sh -c 'echo $XSIGMA_CPU_ALIGN | tr -dc 3'
has 'out: the check failed'
pgrep -f '^sleep 1000[.]75$' >/dev/null && fail 'the check is still there'
for time in 0s 5 -5s soon; do tune 64 --timeout "$time" true; done
# Not the first time, but later.
cat >later.sh <<'END'
echo x >>times
[ "$(wc -l <times)" -lt 4 ]
END
: >./times
tune 1 -n 9 --objective rss --candidate CPU_BACKEND=system -- sh later.sh
hasnt 'no significant'
# A status that is the baseline's too is no failure.
tune 0 -n 3 --set CPU_ALIGN=32 --objective rss --candidate CPU_BACKEND=system -- sh picky.sh
hasnt 'out:'

# --- by itself: back ends and what the baseline's report advises ---
program advise
tune 1 -n 1 --objective rss --set BFC_LIMIT=32M -- "$xs_program" limit
for candidate in CPU_BACKEND=system BFC_LIMIT=64M; do has "$candidate"; done
hasnt 'CPU_BACKEND=bfc  ' # the baseline is that

# --- input: a file from its start each time; the order goes by the seed ---
seq 1000 >numbers
"$xsigma" tune -n 3 --objective rss --check 'grep -qx 1000' --candidate CPU_BACKEND=system -- wc -l <numbers >out 2>err
[ $? -eq 0 ] || fail "input: $(cat out err)"
hasnt 'out:'
for seed in 1 1 2; do
    : >order-$seed.log
    "$xsigma" tune -n 6 --seed $seed --objective rss --candidate CPU_BACKEND=system --candidate CPU_ALIGN=32 \
        -- sh -c "echo \$XSIGMA_CPU_BACKEND\$XSIGMA_CPU_ALIGN. >>order-$seed.log" >out 2>err </dev/null
    [ ! -e first-$seed ] || cmp -s first-$seed order-$seed.log || fail 'another order with the same seed'
    cp order-$seed.log first-$seed
done
[ "$(wc -l <first-1)" = 19 ] || fail "runs: $(wc -l <first-1), not 1 + 6 x 3"
! cmp -s first-1 first-2 || fail 'the same order with another seed'

# --- interrupted: what is known is said, and the program is gone ---
cat >slow.sh <<'END'
echo x >>ran
[ "$(wc -l <ran)" -lt 5 ] || exec sleep 1000.25
END
: >ran
env --default-signal=INT "$xsigma" tune -n 9 --objective rss --candidate CPU_BACKEND=system -- sh slow.sh >out 2>err </dev/null &
pid=$!
for _ in {1..300}; do
    [ "$(wc -l <ran 2>/dev/null)" = 5 ] && break
    sleep 0.1
done
sleep 0.2
kill -INT $pid
wait $pid
rc=$?
[ $rc -eq 130 ] || fail "interrupted: status $rc: $(cat out err)"
has 'interrupted; this is what is known so far'
pgrep -f '^sleep 1000[.]25$' >/dev/null && fail 'the program is still there'
[ -z "$(ls -A "$TMPDIR")" ] || fail "interrupted: leaves $(ls "$TMPDIR")"

# --- devices ---
fakes=$xs_build/tests/cuda
[ -x "$fakes/client-static" ] || skip "passed but for devices: the fakes are not built"
export LD_LIBRARY_PATH=$fakes
tune 0 -n 3 --objective gpu-peak -- "$fakes/client-static" 40
for candidate in GPU_BACKEND=pool GPU_BACKEND=direct PRESET=risk; do has "$candidate"; done
has 'peak device memory'
grep -qE '^. baseline +160 KiB' out || fail "baseline: $(cat out)"
tune 1 -n 3 --objective gpu-peak -- /bin/true
says 'it used none'
finish
