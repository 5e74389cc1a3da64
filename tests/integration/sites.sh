#!/bin/bash
# Known sites come back by name and with their bytes, in C, C++ with inlining, a stripped library and
# one that was closed again; and what is written for other tools is what the report says.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need python3 strip
[ -e "$(ldconfig -p | awk '/libunwind\.so\.8/ { print $NF; exit }')" ] || skip "no libunwind here"
program known_sites
known=$xs_program
part=$xs_root/build/tests/programs/libknown_part.so
cp "$part" libstripped_part.so && strip libstripped_part.so
cp "$part" libclosed_part.so
seeds=${SEEDS:-100}

# run SEED FILE [NAME=VALUE...]
run() {
    local seed=$1 file=$2
    shift 2
    env XSIGMA_SAMPLE=64K XSIGMA_SAMPLE_SEED="$seed" XSIGMA_STATS_FILE="$file" "$@" \
        LD_PRELOAD="$XS_LIB" "$known" "$PWD/libstripped_part.so" "$PWD/libclosed_part.so"
    xs_runs=$((xs_runs + 1))
}

for ((i = 1; i <= seeds; i++)); do
    run "$i" "seed-$i.json" >truth || fail "known_sites with seed $i"
done
python3 "$xs_root/tests/support/known_sites.py" "$xs_build/xsigma" truth libstripped_part.so \
    libclosed_part.so -- seed-*.json || fail "intervals do not hold the true values"

# Every back end, where sampling stands in front of it; every block, where nothing is estimated.
for backend in system mimalloc tbb; do
    for ((i = 1; i <= ${BACKEND_SEEDS:-10}; i++)); do
        run "$i" "$backend-$i.json" XSIGMA_CPU_BACKEND=$backend >truth || fail "known_sites on $backend"
    done
    python3 "$xs_root/tests/support/known_sites.py" "$xs_build/xsigma" truth libstripped_part.so \
        libclosed_part.so -- "$backend"-*.json >log || fail "intervals on $backend"
    sed "s/^/$backend: /" log
done
for setting in XSIGMA_CPU_HARDENED=check XSIGMA_CPU_HARDENED=full XSIGMA_CPU_GUARD_SAMPLE=3 XSIGMA_CPU_HARDENED=off; do
    run 1 all.json XSIGMA_SAMPLE=1 $setting >truth
    python3 "$xs_root/tests/support/known_sites.py" "$xs_build/xsigma" truth libstripped_part.so \
        libclosed_part.so -- all.json >log || { cat log; fail "every block, $setting: not the exact bytes"; }
done
grep -q '"bytes_error": [1-9]\|_error": [1-9]' all.json && fail "every block, and yet an error"

# Names, files and lines.
"$xs_build/xsigma" report seed-1.json >text || fail "xsigma report"
grep -q 'make_node known_sites.cc:[0-9]*' text || fail "no inlined function with its line: $(cat text)"
"$xs_build/xsigma" report --json seed-1.json >named.json
grep -q '"function": "part_hidden"' named.json || fail "no static function of the library that was closed"
python3 - named.json <<'PY' || fail "what a stripped library says"
import json, sys
frames = [f for s in json.load(open(sys.argv[1]))["sites"] for f in s["frames"] if f["module"].endswith("libstripped_part.so")]
assert frames and all(f["file"] is None for f in frames)
assert any(f["function"] == "part_fill" for f in frames), "the exported name"
PY

# For flame graphs and pprof: the same stacks and sums, read by others.
for kind in peak live total; do
    "$xs_build/xsigma" report --collapsed --kind $kind seed-1.json | sed 's/^cpu;//' | sort >collapsed
    case $kind in peak) type=peak_space ;; live) type=inuse_space ;; total) type=alloc_space ;; esac
    "$xs_build/xsigma" report --pprof out.pb.gz seed-1.json || fail "--pprof"
    python3 "$xs_root/tests/support/pprof.py" out.pb.gz "$type" | sort >reread || fail "an independent reader of pprof"
    cmp -s collapsed reread || fail "$kind: pprof and collapsed stacks differ: $(diff collapsed reread | head -n 4)"
    [ -s reread ] || fail "$kind: nothing"
done
if command -v go >/dev/null; then
    go tool pprof -top -sample_index=peak_space out.pb.gz >top 2>&1 || fail "go tool pprof: $(cat top)"
    grep -q 'make_node (inline)' top || fail "go tool pprof knows no inlined function: $(head -n 12 top)"
fi

# What a killed process leaves: the same bytes, of every block and of some.
killed() { # FILE NAME=VALUE...
    local file=$1 records=$xs_tmp/records
    shift
    rm -rf "$records"
    mkdir "$records"
    env KNOWN_SITES_KILL=1 XSIGMA_RECORD="$records" XSIGMA_STATS_FILE="$PWD/none.json" "$@" LD_PRELOAD="$XS_LIB" \
        "$known" "$PWD/libstripped_part.so" "$PWD/libclosed_part.so" >truth 2>err &
    wait $! 2>/dev/null
    [ $? -eq 137 ] || fail "known_sites was to be killed: $(cat err)"
    [ ! -e none.json ] || fail "a report of its own by a killed process"
    "$xs_build/xsigma" report --json "$records" >"$file" || fail "report of a killed process"
    xs_runs=$((xs_runs + 1))
}
killed killed-all.json XSIGMA_SAMPLE=1
python3 "$xs_root/tests/support/known_sites.py" "$xs_build/xsigma" truth libstripped_part.so \
    libclosed_part.so -- killed-all.json >log || { cat log; fail "killed, every block: not the exact bytes"; }
grep -q '_error": [1-9]' killed-all.json && fail "killed, every block, and yet an error"
for ((i = 1; i <= 10; i++)); do
    killed "killed-$i.json" XSIGMA_SAMPLE=64K XSIGMA_SAMPLE_SEED="$i"
done
python3 "$xs_root/tests/support/known_sites.py" "$xs_build/xsigma" truth libstripped_part.so \
    libclosed_part.so -- killed-[0-9]*.json >log || { cat log; fail "killed: intervals do not hold the true values"; }
finish
