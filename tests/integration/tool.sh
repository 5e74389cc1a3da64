#!/bin/bash
# The xsigma command: settings, what run refuses and follows, statuses, doctor, help.
# Needs build/xsigma beside build/libxsigma.so, and gcc.
# shellcheck disable=SC2016 # $ in single quotes is for inner shells
set -u
export LC_ALL=C

root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
lib=${XS_SO:-$root/build/libxsigma.so}
xsigma=$(dirname "$lib")/xsigma
lib=$(readlink -f "$lib")
unset LD_PRELOAD
for v in $(compgen -e XSIGMA_); do
    unset "$v"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/xs-tool.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0

fail() {
    echo "FAIL: $1" >&2
    [ -s out ] && sed 's/^/    out| /' out >&2
    [ -s err ] && sed 's/^/    err| /' err >&2
    failed=1
}

# expect STATUS COMMAND...: runs it with out and err kept.
expect() {
    local want=$1 got
    shift
    "$@" >out 2>err </dev/null
    got=$?
    last=$*
    [ "$got" -eq "$want" ] || fail "$last: status $got instead of $want"
}
out_has() { grep -qF -- "$1" out || fail "$last: no '$1' on stdout"; }
err_has() { grep -qF -- "$1" err || fail "$last: no '$1' on stderr"; }
err_lines() {
    [ "$(wc -l <err)" -eq "$1" ] || fail "$last: not $1 lines on stderr"
}
quiet() { # the program's output alone
    [ -s err ] && fail "$last: something on stderr"
}
refused() { # STATUS TEXT COMMAND...: run says it in one line, doctor says no
    local status=$1 text=$2
    shift 2
    expect "$status" "$xsigma" run -- "$@"
    err_has "$text"
    err_lines 1
    [ -s out ] && fail "$last: it ran all the same"
    expect 1 "$xsigma" doctor -- "$@"
    out_has "$text"
    grep -q '^no ' out || fail "$last: no line begins with no"
}
accepted() { # COMMAND...: doctor says yes
    expect 0 "$xsigma" doctor -- "$@"
    grep -q '^no ' out && fail "$last: a line begins with no"
    out_has 'It would take effect.'
}

for f in "$lib" "$xsigma"; do
    if [ ! -r "$f" ]; then
        echo "FAIL: $f is not there" >&2
        exit 1
    fi
done
export XSIGMA_STATS=0 # reports only where they are asked for

# --- verbs, help, version ---
expect 0 "$xsigma" --version
grep -Eq '^xsigma [0-9]+\.[0-9]+\.[0-9]+$' out || fail 'version line'
for verb in run doctor vars gpu help; do
    expect 0 "$xsigma" help $verb
    out_has "usage: xsigma $verb"
    expect 0 "$xsigma" $verb --help
    out_has "usage: xsigma $verb"
done
expect 0 "$xsigma" help
out_has doctor
expect 0 "$xsigma" --help
expect 64 "$xsigma"
expect 64 "$xsigma" docter
err_has "did you mean 'doctor'?"
expect 64 "$xsigma" help rnu
err_has "did you mean 'run'?"
expect 64 "$xsigma" frobnicate
err_has 'to run a program'
expect 64 "$xsigma" --frobnicate
grep -q 'to run a program' err && fail 'an option is taken for a program'
expect 0 "$xsigma" vars
out_has XSIGMA_CPU_BACKEND=
out_has XSIGMA_STATS=0
expect 64 "$xsigma" vars --x
err_has "was given '--x'"
expect 64 "$xsigma" vars --markdown CPU
err_has "'CPU' is too much"
expect 64 "$xsigma" vars nothing-of-this-name
expect 0 "$xsigma" vars xsigma_cpu_tbb CONFIG
expect 1 bash -c '"$1" help >/dev/full' - "$xsigma"
err_has 'standard output: No space left on device'
err_lines 1
expect 1 bash -c '"$1" vars >/dev/full' - "$xsigma" # more than a buffer: the cause is lost
err_has 'standard output: '
err_lines 1

# --- options of report ---
for words in --json --collapsed '--html x' '--pprof x' '--kind live'; do
    # shellcheck disable=SC2086 # words on purpose
    expect 64 "$xsigma" report $words
    err_has 'of what?'
    err_lines 1
done
for word in --html --pprof --kind; do
    for value in '' -- "''"; do
        eval "expect 64 '$xsigma' report . $word $value"
        err_has "$word: a value is needed"
    done
    expect 64 "$xsigma" report . $word=
    err_has "$word: a value is needed"
done
expect 64 "$xsigma" report --json --collapsed .
err_has 'not both'
expect 64 "$xsigma" report --kind most .
err_has "'most' is none of peak"
expect 64 "$xsigma" report --jsonn .
err_has "'--jsonn' is no option"

# --- options of diff, top and gpu ---
expect 64 "$xsigma" diff --jsno a b
err_has "'--jsno' is no option"
expect 1 "$xsigma" diff -- --a b
err_has '--a: No such file'
expect 64 "$xsigma" top 1 -n
err_has "top: -n '': expected a number"
expect 64 "$xsigma" top --x 1
err_has "'--x' is no option"
expect 64 "$xsigma" top 1 2
err_has "'2' is too much"
for words in '-n 0' -n=0 '-d 1' -n -d --; do
    # shellcheck disable=SC2086 # words on purpose
    expect 64 "$xsigma" top $words
done
expect 0 "$xsigma" top 1 --help
out_has 'usage: xsigma top'
expect 0 "$xsigma" gpu clear --device 1 -h
out_has 'usage: xsigma gpu'
expect 64 "$xsigma" gpu clear --device --help
err_has "--device '--help' is no number"
expect 64 "$xsigma" gpu clear --x 1
err_has "'--x' is no option"

# --- options of run ---
expect 64 "$xsigma" run
expect 64 "$xsigma" run --
expect 64 "$xsigma" run --pressed pde true
expect 64 "$xsigma" run --presett pde true
err_has 'did you mean --preset?'
expect 64 "$xsigma" run --set
expect 64 "$xsigma" run --set CPU_BAKCEND=tbb true
err_has 'did you mean CPU_BACKEND?'
err_lines 1
expect 64 "$xsigma" run --set XSIGMA_STAT=1 true
err_has 'did you mean STATS?'
expect 64 "$xsigma" run --set QWERTYUIOP=1 true
err_has 'no such variable'
expect 64 "$xsigma" run --set CPU_BACKEND true
err_has 'NAME=VALUE'
expect 64 "$xsigma" run --set =1 true
expect 64 "$xsigma" run --set CPU_BACKEND=mimaloc true
err_has 'system|mimalloc|tbb'
err_has 'did you mean mimalloc?'
err_lines 1
expect 64 "$xsigma" run --set 'CPU_ROUTE=<=x' true
err_has '<=64K:mimalloc'
expect 64 "$xsigma" run --set CPU_ALIGN=-4 true
err_has 'size such as'
expect 64 "$xsigma" run --preset montecarlo true
err_has 'did you mean monte-carlo?'
expect 64 "$xsigma" run --json '' true
err_has '--json: a value is needed'
expect 64 "$xsigma" run --html -- true
expect 64 "$xsigma" run --children=1 true
err_has 'did you mean --children?'
expect 64 "$xsigma" run --children --json x true
err_has '%p'
[ ! -e ./-- ] || fail "'--' was taken for a file"
expect 0 "$xsigma" run --preset pde --set CPU_BACKEND=system --set=XSIGMA_CPU_ALIGN=64 \
    --set 'CPU_ROUTE=*:system' --json r/%p.json -- sh -c 'env | grep ^XSIGMA_ | sort'
printf '%s\n' XSIGMA_CPU_ALIGN=64 XSIGMA_CPU_BACKEND=system 'XSIGMA_CPU_ROUTE=*:system' \
    XSIGMA_PRESET=pde XSIGMA_SAMPLE=512K XSIGMA_STATS=0 "XSIGMA_STATS_FILE=$work/r/%p.json" \
    XSIGMA_STATS_FORMAT=json >want
cmp -s want out || fail 'variables of the program'
expect 0 "$xsigma" run --set STATS=0 --set STATS=auto sh -c 'echo $XSIGMA_STATS'
out_has auto
# A place where the report cannot be written is told of before the program runs.
expect 0 "$xsigma" run --json no-place/x -- true
err_has 'note: --json no-place/x: No such file or directory'
mkdir place
for file in place/x x '%p/x'; do
    expect 0 "$xsigma" run --json "$file" -- true
    grep -q 'note: --json' err && fail "$last: a note that is not true"
done
mkdir '100%p'
(cd '100%p' && "$xsigma" run --json x printenv XSIGMA_STATS_FILE) >out
last='--json in a directory with a per cent sign'
out_has "$work/100%%p/x"

# Options end at the program; its own are its own.
expect 0 "$xsigma" run echo --set --help -- x
out_has '--set --help -- x'
expect 0 "$xsigma" run -- echo --help
out_has '--help'

# --- the program's place: status, signals, pid, LD_PRELOAD ---
expect 0 "$xsigma" run true
quiet
expect 7 "$xsigma" run -- sh -c 'exit 7'
quiet
expect 143 "$xsigma" run -- sh -c 'kill -TERM $$'
"$xsigma" run sh -c 'echo $$' >out &
pid=$!
wait $pid
[ "$(cat out)" = $pid ] || fail 'another process id'
expect 0 "$xsigma" run sh -c 'echo "$LD_PRELOAD"'
[ "$(cat out)" = "$lib" ] || fail 'LD_PRELOAD'
expect 0 env LD_PRELOAD='libm.so.6 libdl.so.2' "$xsigma" run sh -c 'echo "$LD_PRELOAD"'
[ "$(cat out)" = "$lib:libm.so.6:libdl.so.2" ] || fail 'LD_PRELOAD with more in it'
expect 0 "$xsigma" run -- "$xsigma" run -- sh -c 'echo "$LD_PRELOAD"'
[ "$(cat out)" = "$lib" ] || fail 'LD_PRELOAD of run in run'

# --- --lib ---
mkdir 'a b' bin lib
echo "int main(void) { return 0; }" >main.c
cp "$lib" 'a b/libxsigma.so'
cp "$lib" other.so
cp "$lib" lib/libxsigma.so
cp "$xsigma" bin/xsigma
expect 0 "$xsigma" run --lib other.so sh -c 'echo "$LD_PRELOAD"'
out_has "$work/other.so"
expect 0 bin/xsigma run sh -c 'echo "$LD_PRELOAD"'
out_has "$work/lib/libxsigma.so"
expect 2 "$xsigma" run --lib 'a b/libxsigma.so' true
err_has 'space or colon'
expect 2 "$xsigma" run --lib nowhere.so true
err_has 'nowhere.so'
expect 2 "$xsigma" run --lib main.c true
err_has 'no shared library'
expect 2 "$xsigma" run --lib /lib/"$(uname -m)"-linux-gnu/libm.so.6 true
err_has 'no malloc'
expect 1 "$xsigma" doctor --lib nowhere.so true
out_has 'nowhere.so'

# --- PATH and files ---
expect 127 "$xsigma" run no-such-program
err_has 'not found'
expect 127 "$xsigma" run ./no-such-program
expect 127 "$xsigma" run ''
expect 126 "$xsigma" run "$work"
err_has 'is a directory'
echo 'echo hello' >plain.sh
expect 126 "$xsigma" run ./plain.sh
err_has 'not executable'
mkdir p1 p2
echo 'echo one' >p1/tool
printf '#!/bin/sh\necho two\n' >p2/tool
chmod 755 p2/tool
expect 0 env PATH="$work/p1:$work/p2:$PATH" "$xsigma" run tool
out_has two
expect 126 env PATH="$work/p1" "$xsigma" run tool
refused 127 'not found' no-such-program

# --- scripts ---
chmod 755 plain.sh
expect 0 "$xsigma" run ./plain.sh
out_has hello
accepted ./plain.sh
printf '#! /bin/sh -e\necho "$0 $1" $LD_PRELOAD\n' >script
chmod 755 script
expect 0 "$xsigma" run ./script word
out_has "./script word $lib"
printf '#!/usr/bin/env sh\necho env $LD_PRELOAD\n' >script-env
chmod 755 script-env
expect 0 "$xsigma" run ./script-env
out_has "env $lib"
accepted ./script-env
printf '#!/no/such/interpreter\n' >script-lost
chmod 755 script-lost
refused 127 '/no/such/interpreter' ./script-lost
printf '#!\n' >script-empty
chmod 755 script-empty
refused 126 'without an interpreter' ./script-empty
printf '#!%s/script-loop\n' "$work" >script-loop
chmod 755 script-loop
expect 126 "$xsigma" run ./script-loop

# --- what cannot be preloaded ---
echo 'int main(void) { return 0; }' >main.c
if gcc -static main.c -o static 2>err; then
    refused 2 'statically linked' ./static
    gcc -static-pie main.c -o static-pie 2>err && refused 2 'statically linked' ./static-pie
    cat >go.s <<'END'
.section .note.go.buildid, "a", %note
.long 4, 4, 4
.asciz "Go\0"
.long 0
.section .note.GNU-stack, "", %progbits
END
    gcc -static main.c go.s -o go-static && refused 2 'a Go program' ./go-static
    # Behind scripts and wrappers.
    printf '#!%s/static\n' "$work" >script-static
    printf '#!/usr/bin/env -S %s/static word\n' "$work" >script-static-env
    chmod 755 script-static script-static-env
    refused 2 'statically linked' ./script-static
    refused 2 'statically linked' ./script-static-env
    for wrapper in 'env -- A=1 B=2' 'env A=1 B=2' 'env -u HOME A=1' 'env --unset=HOME' 'nice' 'nice -n 3' \
        'nice -3' 'nice --adjustment 3' 'nohup' 'timeout 5' 'timeout -k 2 --signal=TERM 5' \
        'timeout -vs INT 5' 'taskset 1' 'taskset -c 0' 'stdbuf -oL -e 0' \
        'stdbuf --output L' 'setsid -w' 'chrt -b 0' 'chrt --other 0' 'ionice -c 3' \
        'ionice -c2 -n 7 -t' "env nice timeout 5 $work/script-static-env"; do
        command -v "${wrapper%% *}" >/dev/null || continue
        # shellcheck disable=SC2086 # words on purpose
        refused 2 'statically linked' $wrapper ./static
    done
    refused 2 'statically linked' env PATH="$work" static
else
    echo 'note: no static libc, static programs not tried'
fi
gcc main.c -o dynamic || fail 'gcc'
accepted ./dynamic
for bits in 4755:setuid 2755:setgid; do
    cp dynamic special
    chmod "${bits%:*}" special
    refused 2 "is ${bits#*:}" ./special
done
rm special
cp dynamic special
if command -v setcap >/dev/null && setcap cap_net_raw+ep special 2>err; then
    refused 2 'file capabilities' ./special
fi

# \177ELF class data version abi, 8 bytes of padding, type, machine
header() { # FILE CLASS DATA MACHINE TYPE
    {
        printf '\177ELF%b%b\1\0\0\0\0\0\0\0\0\0%b%b\1\0\0\0' "$2" "$3" "$5" "$4"
        head -c 100 /dev/zero
    } >"$1"
    chmod 755 "$1"
}
header foreign32 '\1' '\1' '\003\0' '\2\0'
refused 2 'a 32-bit program (i386)' ./foreign32
if [ "$(uname -m)" = aarch64 ]; then
    header foreign '\2' '\1' '\076\0' '\2\0'
    refused 2 'a program for x86-64' ./foreign
    native='\267\0'
else
    header foreign '\2' '\1' '\267\0' '\2\0'
    refused 2 'a program for aarch64' ./foreign
    native='\076\0'
fi
header foreign-big '\2' '\2' '\0\026' '\0\2'
refused 2 'a program for s390' ./foreign-big
header foreign-odd '\2' '\1' '\376\312' '\2\0'
refused 2 'machine 51966' ./foreign-odd
header object '\2' '\1' "$native" '\1\0'
refused 126 'no program' ./object
printf '\177ELF' >broken
chmod 755 broken
refused 2 'broken ELF file' ./broken
header broken '\2' '\7' "$native" '\2\0'
refused 2 'broken ELF file' ./broken

# Headers that point outside, one field of a good file at a time: offset and bytes.
for damage in '32 \377\377\377\377\377\377\377\177' '32 \360\377\377\377\377\377\377\377' \
    '54 \1\0' '56 \377\377' '64 \377' '72 \377\377\377\377\377\377\377\377'; do
    cp dynamic broken
    printf '%b' "${damage#* }" | dd of=broken bs=1 seek="${damage%% *}" conv=notrunc 2>/dev/null
    "$xsigma" doctor ./broken >out 2>err </dev/null
    [ $? -le 1 ] || fail "doctor on a file damaged by '$damage'"
done
for size in 64 200 700 1000 5000; do
    head -c $size dynamic >broken
    "$xsigma" doctor ./broken >out 2>err </dev/null
    [ $? -le 1 ] || fail "doctor on a file cut at $size"
done

gcc main.c -o musl -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1
refused 2 'linked with musl' ./musl
gcc main.c -o loaderless -Wl,--dynamic-linker=/lib/no-such-loader.so.2
refused 127 '/lib/no-such-loader.so.2' ./loaderless
if gcc -fsanitize=address main.c -o asan 2>err; then
    refused 2 'AddressSanitizer' ./asan
fi
if gcc -fsanitize=address -static-libasan main.c -o asan-static 2>err; then
    expect 1 "$xsigma" doctor ./asan-static
    out_has 'brings its own malloc'
fi
if gcc -fsanitize=thread main.c -o tsan 2>err; then
    refused 2 'ThreadSanitizer' ./tsan
fi

# A malloc of its own: run leaves it alone, doctor says no.
cat >own.c <<'END'
#include <stddef.h>
static char mem[1 << 20];
static size_t used;
void *malloc(size_t n);
void *malloc(size_t n)
{
    char *p = mem + used;
    used += (n + 15) / 16 * 16;
    return p;
}
void free(void *p);
void free(void *p)
{
    (void)p;
}
int main(void)
{
    return malloc(5) == NULL;
}
END
for style in gnu sysv; do
    gcc -Wl,--hash-style=$style -fno-builtin own.c -o own || fail 'gcc own.c'
    expect 0 "$xsigma" run ./own
    expect 1 "$xsigma" doctor ./own
    out_has 'brings its own malloc'
    gcc -Wl,--hash-style=$style main.c -o dynamic && accepted ./dynamic
done

# --- wrappers that lose LD_PRELOAD or need more ---
for wrapper in 'env -i' 'env -' 'env -u LD_PRELOAD' 'env -uLD_PRELOAD' 'env --unset LD_PRELOAD' \
    'env --ignore-environment' 'env LD_PRELOAD=' 'env A=1 LD_PRELOAD=x.so' 'env -S -i'; do
    # shellcheck disable=SC2086 # words on purpose
    refused 2 'takes LD_PRELOAD away' $wrapper true
done
printf '#!/bin/sh\nshift 1\nexec "$@"\n' >valgrind
chmod 755 valgrind
refused 2 "C library's malloc only" ./valgrind ./dynamic
for blind in memcheck massif dhat helgrind drd; do
    refused 2 "C library's malloc only" ./valgrind -q --tool=$blind ./dynamic
done
expect 0 "$xsigma" run ./valgrind --tool=callgrind ./dynamic
quiet
last='valgrind without a program'
"$xsigma" run ./valgrind --version >out 2>err
quiet
refused 127 'no-such-program' ./valgrind --tool=callgrind no-such-program
cp dynamic sudo
cp dynamic mpirun
cp dynamic nice
refused 2 "put 'xsigma run --' behind it" ./sudo true
expect 0 "$xsigma" run ./mpirun -n 2 x
err_has 'mpirun ... xsigma run -- program'
err_lines 1
expect 0 "$xsigma" run ./nice --unknown-option x
err_has 'not examined'
expect 0 "$xsigma" run env
quiet
expect 0 "$xsigma" run nice
quiet
expect 0 "$xsigma" run taskset -p 1
accepted env A=1 nice -n 1 timeout 5 true
refused 127 'no-such-program' env A=1 nice no-such-program

# Those that stay as the parent of the program are all that reports, which is said.
expect 0 env XSIGMA_STATS=auto "$xsigma" run nice timeout 5 true
grep -c 'note: the report will be of timeout, not' err | grep -qx 1 || fail "$last: no note"
expect 0 env XSIGMA_STATS=auto "$xsigma" doctor timeout 5 true
out_has 'of timeout, not'
for words in '' '--set STATS=auto --set STATS_CHILDREN=1'; do
    # shellcheck disable=SC2086 # words on purpose
    expect 0 "$xsigma" run $words -- timeout 5 true
    grep -q 'timeout, not' err && fail "$last: a note that is not true"
done
printf '#!/bin/sh\n/bin/true\n' >script-starts
printf '#!/bin/sh\nexec /bin/true\n' >script-becomes
chmod 755 script-starts script-becomes
for words in ./script-starts 'sh -eu script-starts'; do
    # shellcheck disable=SC2086 # words on purpose
    expect 0 env XSIGMA_STATS=auto "$xsigma" run $words
    err_has 'report will be of sh, not'
done
for words in '--children ./script-starts' ./script-becomes 'sh -c true script-starts' sh; do
    # shellcheck disable=SC2086 # words on purpose
    expect 0 env XSIGMA_STATS=auto "$xsigma" run $words
    grep -q 'of sh, not' err && fail "$last: a note that is not true"
done
expect 0 env XSIGMA_STATS=auto "$xsigma" run timeout --version
grep -q 'timeout, not' err && fail "$last: it starts nothing"

# --- doctor ---
expect 0 "$xsigma" doctor
out_has 'loads and serves malloc'
expect 64 "$xsigma" doctor --json x true
grep -q 'did you mean' err && fail "$last: the option that it has not is proposed"
expect 1 env XSIGMA_DISABLE=1 "$xsigma" doctor true
out_has XSIGMA_DISABLE
expect 0 env XSIGMA_STATT=1 "$xsigma" doctor true
out_has 'XSIGMA_STATT'
grep -q '^warn' out || fail 'no warning of an unknown variable'
expect 1 env XSIGMA_STATT=1 XSIGMA_STRICT=1 "$xsigma" doctor true
expect 1 "$xsigma" doctor --set CPU_BACKEND=mimalloc --set CPU_MIMALLOC_LIBRARY=libnone.so.9 true
out_has 'libnone.so.9'
expect 1 "$xsigma" doctor --set 'CPU_ROUTE=<=1K:tbb,*:system' --set CPU_TBB_LIBRARY=libnone.so.9 true
out_has 'libnone.so.9'
expect 1 "$xsigma" doctor --set CPU_BACKEND=tbb --set CPU_TBB_LIBRARY=libm.so.6 true
out_has 'scalable_malloc'
expect 0 "$xsigma" doctor --set CPU_MIMALLOC_LIBRARY=libnone.so.9 true # not wanted
expect 0 bash -c 'ulimit -v 4000000; exec "$@"' - "$xsigma" doctor true
out_has 'address space is limited to'
grep -q ^warn out && fail "$last: a warning of what concerns mimalloc only"
gcc -shared -fPIC -fno-builtin own.c -o libjemalloc.so
expect 0 env LD_PRELOAD="$work/libjemalloc.so" "$xsigma" doctor true
out_has 'libjemalloc.so, which has a malloc too'
expect 0 env LD_PRELOAD=libm.so.6 "$xsigma" doctor true
out_has 'no other allocator'

# --- a report ---
called=$(basename "$(readlink -f /bin/true)") # perhaps gnutrue
expect 0 "$xsigma" run --set STATS=1 /bin/true
err_has "xsigma $("$xsigma" --version | cut -d' ' -f2)  $called pid "
err_has 'exit 0'
expect 0 "$xsigma" run --set STATS=1 --json report.json /bin/true
[ -s report.json ] || fail 'no report.json'
grep -qF '"schema": "xsigma.stats/1"' report.json || fail 'report.json has no schema'
if command -v python3 >/dev/null; then
    python3 -c 'import json; r = json.load(open("report.json")); assert r["process"]["program"] == "'"$called"'"' \
        || fail 'report.json'
fi

if [ $failed -eq 0 ]; then
    echo 'tool: all as expected'
fi
exit $failed
