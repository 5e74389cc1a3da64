#!/bin/bash
# A cudaMalloc and cudaFree of a size that was freed before: at most 150 instructions, by every back
# end that keeps memory, of which the loop around them is not a part; and of changing sizes, as long
# as all that is freed is little. A larger piece that pool and bfc have to cut anew costs more, within
# a bound.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind
pair=$build/tests/bench/gpu_pair fakes=$build/tests/cuda
[ -x "$pair" ] && [ -d "$fakes" ] || skip "the fakes are not built: make tests"

most=$(bound 150)
# Without a record: what it costs goes by the time, which valgrind stretches.
loop=12 # the program's own, between two pairs
count=100000
# A piece that is cut anew: of many equal ones, and of sizes that never come twice in a row.
most_of() { # BACKEND WAY
    case $1-$2 in
        *-mixed) bound 1750 ;;
        *) bound 800 ;;
    esac
}
instructions() { # BACKEND PAIRS [WAY [BYTES]]
    timeout --foreground 100 env LD_LIBRARY_PATH="$fakes" LD_PRELOAD="$lib" XSIGMA_STATS=0 XSIGMA_RECORD=off \
        XSIGMA_GPU_BACKEND="$1" valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$pair" "${3-driver}" "$2" "${4-4096}" 2>&1 | sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}
for backend in caching pool bfc; do
    one=$(instructions $backend $count)
    two=$(instructions $backend $((2 * count)))
    figure=$(((${two:-0} - ${one:-0}) * 10 / count - 10 * loop))
    printf '%-8s %d.%d instructions a pair\n' $backend $((figure / 10)) $((figure % 10))
    [ -n "$one" ] && [ $figure -gt 0 ] || fail "$backend: valgrind gave no figure"
    [ $figure -le $((10 * most)) ] || fail "$backend: more than $most"
done
count=8000
for way in cut mixed; do
    loop=$([ $way = cut ] && echo 24 || echo 29) # with what works the sizes out
    for backend in pool bfc; do
        one=$(instructions $backend $count $way)
        two=$(instructions $backend $((2 * count)) $way)
        figure=$(((${two:-0} - ${one:-0}) / count - loop))
        printf '%-8s %d instructions a pair of changing sizes (%s)\n' $backend $figure $way
        [ -n "$one" ] && [ $figure -gt 0 ] || fail "$backend: valgrind gave no figure of a $way"
        [ $figure -le "$most" ] || fail "$backend: more than $most for a $way"
        one=$(instructions $backend $count $way 262144)
        two=$(instructions $backend $((2 * count)) $way 262144)
        figure=$(((${two:-0} - ${one:-0}) / count - loop))
        printf '%-8s %d instructions a pair that is cut anew (%s)\n' $backend $figure $way
        [ -n "$one" ] && [ $figure -gt "$most" ] || fail "$backend: valgrind gave no figure of a $way"
        [ $figure -le "$(most_of $backend $way)" ] || fail "$backend: too many for a $way"
    done
done
finish
