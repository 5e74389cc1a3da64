#!/bin/bash
# scripts/gpu-check on the fake driver: it runs to its end, fails in nothing, and writes what it says;
# so it does where there is next to nothing, and when it is killed.
# timeout: 1500
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need python3 make
"$xs_root/scripts/gpu-check" --fake --quick --out "$xs_tmp/out" >said 2>&1 || {
    fail "status $?"
    grep '^fail' said
}
grep -q '^| ' out/result.md || fail "no result.md"
python3 -c '
import json
r = json.load(open("out/result.json"))
steps = {x["step"] for x in r["results"]}
assert {"build", "linking", "reuse", "measure", "clients", "pair", "traces"} <= steps, steps
assert all(x["status"] in ("pass", "fail", "not done", "info") for x in r["results"])' ||
    fail "result.json is not as it should be"

# Nothing but what every system has: no make, no compiler, no Python.
mkdir bin
for tool in awk basename bash cat cksum cp cut date dirname env git grep head mkdir mv nm nproc paste readlink rm \
    sed seq sort tail timeout tr; do
    ln -s "$(command -v $tool)" bin/
done
PATH=$xs_tmp/bin CUDA_HOME=/nowhere "$xs_root/scripts/gpu-check" --fake --quick --out "$xs_tmp/bare" >said 2>&1 ||
    fail "with nothing installed: status $? $(grep -E '^fail' said)"
# The same where there is a driver, which nobody but itself tells of.
PATH=$xs_tmp/bin CUDA_HOME=/nowhere LD_LIBRARY_PATH=$xs_root/build/tests/cuda \
    "$xs_root/scripts/gpu-check" --quick --without clients,counts,traces --out "$xs_tmp/driver" >said 2>&1 ||
    fail "with nothing but a driver: status $? $(grep -E '^fail' said)"
for row in 'linking.client-shared, native.pass' 'linking.client-shared, bfc deferred.pass' 'pair.driver, 4096 B, caching strict.info'; do
    grep -q "^$row" driver/rows || fail "with nothing but a driver: no row $row"
done
grep -q '^| linking | client-shared, native | pass |' driver/result.md || fail "with nothing but a driver: no result"
# A GPU, as far as anybody can tell, and no toolkit.
mkdir smi
printf '#!/bin/sh\necho "A fake GPU, 580.0, 4096 MiB"\n' >smi/nvidia-smi
chmod +x smi/nvidia-smi
# Of the clients only PyTorch, as somebody who has none would write it: it does the same in less time
# under the library.
cat >smi/python <<'PYTHON'
#!/bin/bash
case "$*" in
    *clients.py\ torch)
        printf 'hash 1\nms 2\nus_per_step %s\npair_ns 50\n' "$([ -n "${LD_PRELOAD-}" ] && echo 300 || echo 400)"
        exec "$LD_LIBRARY_PATH/client-driver" 7 >&2
        ;;
    *clients.py*) echo "skip: none"; exit 77 ;;
    *) exec python3 "$@" ;;
esac
PYTHON
chmod +x smi/python
PATH=$xs_tmp/smi:/usr/bin:/bin CUDA_HOME=/nowhere LD_LIBRARY_PATH=$xs_root/build/tests/cuda PYTHON=$xs_tmp/smi/python \
    "$xs_root/scripts/gpu-check" --quick --without counts --out "$xs_tmp/gpu" >said 2>&1 ||
    fail "with a GPU and no toolkit: status $? $(grep -E '^fail' said)"
python3 -c '
import json, re
r = json.load(open("gpu/result.json"))["results"]
done = {x["step"] + ": " + x["name"] for x in r if x["status"] in ("pass", "info")}
want = {f"linking: client-{kind}, {policy}" for kind in ("shared", "static", "per-thread", "driver", "dlsym")
        for policy in ("native", "caching strict", "bfc deferred")}
want |= {"pair: driver, 4096 B, native", "pair: driver, 4096 B, caching strict", "traces: on a GPU"}
want |= {"clients: torch, native", "clients: torch, uncached"}
want |= {"clients: torch, uncached, " + policy for policy in ("caching strict", "caching deferred", "bfc deferred")}
done = {re.sub(", [0-9]+ ‰ hits$", "", name) for name in done}
assert want <= done, want - done
turns = {x["name"]: x["detail"].strip() for x in r if "by turns" in x["name"]}
assert turns == {"torch by turns, its own cache": "400 us a step, 50 ns a pair: 1.000 and 1.000 times its own",
                 **{"torch by turns, caching " + way: "300 us a step, 50 ns a pair: 0.750 and 1.000 times its own"
                    for way in ("strict", "deferred")}}, turns
steps = [x["step"] for x in r]
assert steps.index("counts") < steps.index("clients") < steps.index("traces"), steps' || fail "without a toolkit a GPU is not made use of"
# Killed in the midst.
"$xs_root/scripts/gpu-check" --fake --quick --out "$xs_tmp/killed" >said 2>&1 &
sleep 3
kill $!
wait $!
status=$?
[ $status = 143 ] || fail "killed: status $status instead of 143"
# And so that it hears nothing of it, in its first step.
for python in python3 /nowhere; do
    PYTHON=$python "$xs_root/scripts/gpu-check" --fake --quick --out "$xs_tmp/at-once" >said 2>&1 &
    for _ in {1..600}; do
        ! grep -q '^linking' at-once/rows 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL $!
    wait $!
    python3 -c '
import json
r = json.load(open("at-once/result.json"))
assert not r["whole"] and {"machine", "build"} <= {x["step"] for x in r["results"]}, r' ||
        fail "killed at once, with $python: no result.json to speak of"
    grep -q 'Not whole' at-once/result.md || fail "killed at once, with $python: result.md does not say so"
    rm -rf at-once
done
python3 -c '
import json
r = json.load(open("bare/result.json"))
assert r["whole"] and len(r["results"]) > 15, r
assert {x["status"] for x in r["results"]} == {"info", "not done", "pass"}, r
r = json.load(open("killed/result.json"))
assert not r["whole"] and any(x["step"] == "machine" for x in r["results"]), r' ||
    fail "result.json is not as it should be where little is installed, or when killed"
grep -q '^| machine | make | info ' bare/result.md || fail "no result.md without Python"
xs_runs=4
finish
