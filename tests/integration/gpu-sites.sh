#!/bin/bash
# Where memory of the CUDA driver's was asked for: device, pitched, managed, pinned, stream-ordered
# blocks and those of cuMemCreate, by every back end, with what they came to in all, at the peak and
# in the end, to the byte; in JSON, in text, and in what is written for other tools.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

fakes=$xs_build/tests/cuda
[ -r "$fakes/libcuda.so.1" ] || skip "the fakes are not built: make tests"
[ "$xs_stand_in" = 0 ] || skip "no other allocator has this"
need python3
[ -e "$(ldconfig -p | awk '/libunwind\.so\.8/ { print $NF; exit }')" ] || skip "no libunwind here"
program gpu_sites
export LD_LIBRARY_PATH=$fakes XSIGMA_RECORD=off

for backend in caching pool bfc direct managed; do
    xs_runs=$((xs_runs + 1))
    env LD_PRELOAD="$XS_LIB" XSIGMA_GPU_BACKEND=$backend XSIGMA_SAMPLE=1M \
        XSIGMA_STATS_FILE="$xs_tmp/$backend.json" "$xs_program" >truth 2>err ||
        fail "$backend: $(cat truth err)"
    "$xs_build/xsigma" report --json $backend.json >named.json || fail "$backend: xsigma report --json"
    python3 - truth named.json <<'PY' || fail "$backend: not what the program asked for"
import json, sys
truth = {n: tuple(map(int, v)) for n, *v in (l.split() for l in open(sys.argv[1]))}
kinds = {"take_pinned": "pinned", "take_host": "pinned"}
found = {}
for s in json.load(open(sys.argv[2]))["sites"]:
    if s["kind"] == "cpu":
        continue # what the driver allocates for itself, sampled now and then
    for f in s["frames"]:
        if f["function"] in truth:
            old = found.get(f["function"], (0, 0, 0))
            assert s["kind"] == kinds.get(f["function"], "gpu0"), (f["function"], s["kind"])
            found[f["function"]] = tuple(a + s[k + "_bytes"] for a, k in zip(old, ("total", "peak", "live")))
            assert s["total_bytes_error"] == 0 == s["live_bytes_error"]
            break
if found != truth:
    print("found", found, "\ntruth", truth)
sys.exit(found != truth)
PY
    # The command's text, which names functions.
    "$xs_build/xsigma" report $backend.json >text || fail "$backend: xsigma report"
    grep -qE '^ +6\.00 MiB +[0-9]+% +gpu0 +take_device ' text || fail "$backend: no take_device: $(cat text)"
    grep -qE '^ +400 KiB +67% +pinned +take_pinned ' text || fail "$backend: no take_pinned: $(cat text)"
    grep -qE '^ +600 KiB +[0-9]+% +gpu0 +take_managed ' text || fail "$backend: no take_managed: $(cat text)"
done
"$xs_build/xsigma" report --collapsed --kind live bfc.json >folded || fail "--collapsed"
grep -q "^pinned;.*take_pinned.* $((200 << 10))\$" folded || fail "no pinned stack: $(cat folded)"
grep -q "^gpu0;.*take_created.* $((2 << 20))\$" folded || fail "no created stack: $(cat folded)"

# The process's own report, which knows modules only.
env LD_PRELOAD="$XS_LIB" XSIGMA_STATS=1 XSIGMA_SAMPLE=1M "$xs_program" >truth 2>err
grep -qE '^ +6\.00 MiB +[0-9]+% +gpu0 +gpu_sites\+0x' err || fail "no site of the device: $(cat err)"
grep -qE '^ +400 KiB +[0-9]+% +pinned +gpu_sites\+0x' err || fail "no pinned site: $(cat err)"
finish
