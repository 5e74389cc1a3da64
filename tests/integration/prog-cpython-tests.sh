#!/bin/bash
# CPython's own tests of threads, fork, subprocesses, mmap and ctypes, its own pools off. Those that
# mostly wait are in long-cpython-tests. All policies at once, as the tests sleep most of their time.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need /usr/bin/python3
export PYTHONMALLOC=malloc
/usr/bin/python3 -c 'import test.test_fork1' 2>/dev/null || skip "no test modules of python3 here"

modules=(test_threading test_fork1 test_subprocess test_mmap test_ctypes)
options=(-i '*imeout*' -i '*NoPoll*')
if [ "${CPYTHON_TESTS-}" = all ]; then
    modules+=(test_dict test_list test_set test_bytes test_unicode test_re test_json test_gc
        test_weakref test_memoryview test_array test_io test_queue test_thread test_multiprocessing_fork
        test_concurrent_futures test_zlib test_pickle test_decimal test_deque test_itertools test_exceptions)
    options=()
fi

# run_modules POLICY - its status file says 0 when all modules pass; where one fails, the same is
# run without the library, and only what fails there too is let off.
run_modules() {
    local policy=$1 dir=$xs_tmp/$1 bad m
    mkdir -p "$dir"
    (
        cd "$dir" || exit 1
        xs_stderr=$dir/stderr
        xs_reports=$dir/reports
        xs_failures=0
        # In the background an interrupt is ignored, which one of 3.14's tests waits for.
        xs_run "$policy" env --default-signal=INT /usr/bin/python3 -m test -j4 --timeout 600 "${options[@]}" "${modules[@]}" >out
        xs_proven "CPython under $policy" "$policy"
        bad=$(sed -n '/^[0-9]* tests\{0,1\} failed:/,/^[^ ]/{/^  */p}' out | tr -s ' \n' ' ')
        if ! grep -q '^Tests\{0,1\} result: \|^Total duration' out && [ -z "$bad" ]; then
            fail "CPython under $policy: no result"
            tail -n 40 out stderr
        fi
        for m in $bad; do
            if xs_run_without /usr/bin/python3 -m test "${options[@]}" "$m" >out.without 2>&1; then
                fail "CPython under $policy: $m fails, and passes without the library"
                grep -E -A30 '^(FAIL|ERROR|test .* (crashed|failed))' out | head -n 80
            else
                echo "$m fails without the library, too"
            fi
        done
        grep -E '^(Tests result|Total duration|== Tests)' out | sed "s/^/$policy: /"
        exit "$((xs_failures > 0))"
    ) >"$dir/log" 2>&1
    echo $? >"$dir/status"
}

for policy in "${xs_policies[@]}"; do
    run_modules "$policy" &
    xs_runs=$((xs_runs + 1))
done
wait
for policy in "${xs_policies[@]}"; do
    cat "$xs_tmp/$policy/log"
    [ "$(cat "$xs_tmp/$policy/status")" = 0 ] || fail "CPython's tests under $policy"
done
finish
