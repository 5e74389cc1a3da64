#!/bin/bash
# What is written for pprof, flame graphs and speedscope, read by go's pprof and by speedscope itself,
# in a browser: the same stacks and bytes as in the report.
# timeout: 600
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need python3
program known_sites
formats=$xs_root/tests/support/formats.py
left=''

# Lines of one function have stacks of their own, with the same names.
sum() { # FILE
    awk '{ n = $NF; sub(/ [0-9]+$/, ""); sum[$0] += n } END { for (s in sum) print s, sum[s] }' "$1" | sort
}

env XSIGMA_SAMPLE=16K XSIGMA_SAMPLE_SEED=1 XSIGMA_STATS_FILE="$PWD/report.json" LD_PRELOAD="$XS_LIB" \
    "$xs_program" "$xs_root/build/tests/programs/libknown_part.so" >/dev/null || fail "known_sites"
"$xs_build/xsigma" report --pprof profile.pb.gz report.json || fail "--pprof"
for kind in peak live total; do
    "$xs_build/xsigma" report --collapsed --kind $kind report.json >$kind.collapsed
    sum $kind.collapsed >$kind.sum
    sed 's/^cpu;//' $kind.sum >$kind.plain
    [ -s $kind.plain ] || fail "$kind: no stacks"
done

same() { # WHAT EXPECTED
    sum found >sorted
    cmp -s "$2" sorted || fail "$1 reads something else: $(diff "$2" sorted | head -n 6)"
    xs_runs=$((xs_runs + 1))
}

if command -v go >/dev/null; then
    go tool pprof -raw profile.pb.gz >raw 2>err || fail "go tool pprof: $(cat err)"
    for type in peak:peak_space live:inuse_space total:alloc_space; do
        python3 "$formats" go raw ${type#*:} >found || fail "go tool pprof: what it prints"
        same "go tool pprof, ${type#*:}" ${type%:*}.plain
    done
else
    left="no go"
fi

# speedscope FILE EXPECTED
speedscope() {
    python3 "$formats" page node_modules/speedscope/dist/release/index.html "$1" "$PWD/page.html"
    timeout 200 chromium --headless --no-sandbox --disable-dev-shm-usage --enable-unsafe-swiftshader \
        --user-data-dir="$PWD/profile" --virtual-time-budget=8000 \
        --dump-dom "file://$PWD/page.html#localProfilePath=${PWD#/}/page.html.js" >dom 2>err
    python3 "$formats" speedscope dom >found || fail "speedscope did not read $1: $(tail -n 2 err)"
    same "speedscope, $1" "$2"
}
if ! command -v npm >/dev/null || ! command -v chromium >/dev/null; then
    left+="${left:+, }no npm or chromium"
elif ! timeout 120 npm install --silent --no-audit --no-fund --ignore-scripts speedscope >npm.log 2>&1; then
    left+="${left:+, }npm cannot get speedscope"
else
    speedscope peak.collapsed peak.sum
    speedscope total.collapsed total.sum
    if [ -s raw ]; then
        # It knows no inlined functions in this format.
        python3 "$formats" go raw peak_space outer >found
        sum found >peak.outer
        speedscope profile.pb.gz peak.outer
    fi
fi
[ $xs_failures -gt 0 ] || [ -z "$left" ] || skip "passed but for: $left"
finish
