#!/bin/bash
# Each fault of the list `mutants`, put into the GPU core by itself, must make its test fail.
# long-mutants.sh [WORD...]: only lines with one of the words.
# timeout: 3000
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

list=$(cd "$(dirname "$0")" && pwd)/mutants
cd "$(dirname "$list")/../.." || exit 1
objects=build/release/lib
[ -e "$objects/src/gpu/epoch.o" ] && [ -e build/tests/cuda/libcuda.so.1 ] || skip "not built: make tests"
cc=(cc -D_GNU_SOURCE -Iinclude -std=gnu17 -O1 -g -w -pthread -fno-builtin-malloc)

# What does not change of the random programs, once.
programs() {
    local f
    [ ! -e "$work/main-fixed.o" ] || return 0
    for f in tests/property/{model,ops_memory,ops_stream,program,main,api_core,thread_end}.c \
        tests/support/cuda/{alloc,capture,context,copy,entry,memory,oracle,share,stream,time}.c; do
        "${cc[@]}" -Isrc -I. -Itests/support/cuda -c -o "$work/$(basename "$f" .c)-fixed.o" "$f" || fail "$f does not compile"
    done
}
core=("$objects"/src/{base,sys,stats,sample,core,gpu}/*.o)
all=("${core[@]}" "$objects"/src/{backend,policy,report}/*.o)

# survives FILE TEST SED: 0 if the test passes all the same, 2 if there was nothing to test.
survives() {
    local file=$1 test=$2 tree=$work/tree units=("$1") seeds o u
    rm -rf "$tree" "$work"/mutant-*.o
    mkdir "$tree"
    cp -r src "$tree"
    sed -i "$3" "$tree/src/gpu/$file"
    if cmp -s "src/gpu/$file" "$tree/src/gpu/$file"; then
        fail "nothing changes: $1 $3"
        return 2
    fi
    [ "${file%.h}" = "$file" ] || units=(block.c gpu.c cache.c piece.c range.c supply.c share.c host.c stats.c
        sub_bfc.c sub_pool.c sub_run.c)
    local mutated=() rest=()
    for u in "${units[@]}"; do
        o=$work/mutant-${u%.c}.o
        "${cc[@]}" -I"$tree/src" -I. -fPIC -fvisibility=hidden -ftls-model=initial-exec -c -o "$o" "$tree/src/gpu/$u" || {
            fail "does not compile: $1 $3"
            return 2
        }
        mutated+=("$o")
    done
    local from=("${all[@]}")
    [ "$test" != property ] || from=("${core[@]}")
    for o in "${from[@]}"; do
        [[ " ${units[*]} " == *" $(basename "$o" .o).c "* && $o == */gpu/* ]] || rest+=("$o")
    done
    if [ "$test" = property ]; then
        programs
        "${cc[@]}" -o "$work/mutant" "$work"/*-fixed.o "${mutated[@]}" "${rest[@]}" -ldl || {
            fail "does not link: $1 $3"
            return 2
        }
        for seeds in 1 301 601 901; do
            timeout 120 "$work/mutant" --no-shrink --seeds $seeds 300 >"$work/out" 2>&1 || return 1
        done
        timeout 120 "$work/mutant" --free --no-shrink --seeds 1 300 >"$work/out" 2>&1 || return 1
        return 0
    fi
    "${cc[@]}" -Isrc -I. -Itests/support/cuda -Wl,-rpath,"$PWD/build/tests/cuda" -o "$work/mutant" "tests/unit/$test.c" \
        "${mutated[@]}" "${rest[@]}" build/tests/cuda/libcuda.so.1 -lcriterion -ldl || {
        fail "does not link: $1 $3"
        return 2
    }
    timeout 120 "$work/mutant" >"$work/out" 2>&1 || return 1
}

caught=0
while read -r file test expression; do
    [[ -n $file && $file != \#* ]] || continue
    wanted=$#
    for word; do [[ "$file $test $expression" != *"$word"* ]] || wanted=0; done
    [ $wanted -eq 0 ] || continue
    survives "$file" "$test" "$expression"
    case $? in
    0) fail "$test does not see: $file $expression" ;;
    2) ;;
    *) caught=$((caught + 1)) ;;
    esac
done <"$list"
echo "$caught faults, each seen by its test"
[ $caught -gt 0 ] || fail "no fault was tried"
finish
