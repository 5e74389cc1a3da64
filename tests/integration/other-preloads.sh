#!/bin/bash
# Libraries that are preloaded beside ours and stand in front of system calls, in either order: they
# are not called before they are ready, nor when they are gone, nor inside malloc.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"
need python3

cat >work.py <<'P'
import threading, time
def work():
    kept = []
    for i in range(300):
        kept.append(bytearray(i * 400))
        time.time()
        if i % 3 == 0:
            kept.pop(i % len(kept))
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads: t.start()
for t in threads: t.join()
print(sum(i for i in range(1000)))
P
export PYTHONMALLOC=malloc
strict=$xs_build/tests/programs/libstrict_calls.so
work=(/usr/bin/python3 work.py)

# Without ours the other one serves the program well.
[ "$(LD_PRELOAD=$strict "${work[@]}" 2>err)" = 499500 ] || fail "the other library alone: $(cat err)"

# mimalloc and oneTBB make such calls for themselves.
for policy in system bfc check full XSIGMA_SAMPLE=4K XSIGMA_STATS_INTERVAL=1ms XSIGMA_DISABLE=1; do
    xs_policy_env "$policy"
    for preload in "$strict:$XS_LIB" "$XS_LIB:$strict"; do
        for more in XSIGMA_STATS=1 "XSIGMA_STATS_FILE=$xs_tmp/report.json"; do
            rm -f report.json
            got=$(timeout -s KILL 20 env "${xs_env[@]}" "$more" LD_PRELOAD="$preload" "${work[@]}" 2>err)
            status=$?
            xs_runs=$((xs_runs + 1))
            [ "$status$got" = 0499500 ] ||
                fail "$policy, ${preload//$xs_build\//}, $more: status $status: $got $(head -n 3 err)"
            [ "$policy" = XSIGMA_DISABLE=1 ] || [ "$more" = XSIGMA_STATS=1 ] || [ -s report.json ] ||
                fail "$policy, ${preload//$xs_build\//}: no report"
        done
    done
done

# Nothing that the other library could define is imported.
if command -v nm >/dev/null; then
    for name in $(sed -n 's/^[^"]*__wrap_\([a-z_]*\).*/\1/p' "$xs_root/src/sys/direct.c"); do
        nm -D --undefined-only "$XS_LIB" | grep -qE " $name(@|\$)" && fail "$name is imported"
    done
fi
finish
