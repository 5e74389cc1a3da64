#!/bin/bash
# XSIGMA_CPU_NUMA on machines of two and four nodes, emulated in software by Debian's QEMU under
# Debian's kernel: where each page of a thread's blocks lies, by what that kernel says.
# timeout: 900
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need qemu-system-x86_64 cpio busybox
[ "$(uname -m)" = x86_64 ] || skip "the emulated machine is an x86-64"

# By the package linux-image-amd64, or unpacked by scripts/setup test-all.
kernel=''
for kernel in "$build"/kernel/boot/vmlinuz-* /boot/vmlinuz-*; do
    [ -r "$kernel" ] && break
    kernel=''
done
[ -n "$kernel" ] || skip "no kernel in build/kernel or /boot: scripts/setup test-all gets one"

numa_where=$(program numa_where) || exit 1
guest=$work/guest
mkdir -p "$guest"/{bin,proc,sys,dev,dev/shm,tmp}
cp "$(command -v busybox)" "$guest/bin/busybox"
for c in sh mount cat echo poweroff; do ln -s busybox "$guest/bin/$c"; done
cp "$numa_where" "$guest/bin/numa_where"
cp "$lib" "$guest/libxsigma.so"
# The loader and the libraries of the program, at the paths where it looks for them.
ldd "$numa_where" | grep -o '/[^ ]*' | while read -r f; do
    mkdir -p "$guest/${f%/*}"
    cp -L "$f" "$guest/$f"
done
cat >"$guest/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs shm /dev/shm
nodes=$(cat /proc/cmdline | busybox sed 's/.*xs_nodes=\([0-9]*\).*/\1/')
run() {
    echo "case $1"
    shift
    busybox env LD_PRELOAD=/libxsigma.so "$@" numa_where "$nodes" 2>&1
    echo "status $?"
}
echo
run off XSIGMA_STATS=0
run local XSIGMA_CPU_NUMA=local XSIGMA_STATS=1
run interleave XSIGMA_CPU_NUMA=interleave XSIGMA_STATS=1
run bind XSIGMA_CPU_NUMA=bind:1 XSIGMA_STATS=0
run preferred XSIGMA_CPU_NUMA=preferred:1 XSIGMA_STATS=0
run run XSIGMA_CPU_NUMA_RUN=1 XSIGMA_STATS=0
echo "case end"
poweroff -f
INIT
chmod 755 "$guest/init"
(cd "$guest" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd" || fail "no initial file system"

emulate() { # NODES
    local n args=(-smp "$1" -m "$((512 * $1))M")
    for ((n = 0; n < $1; n++)); do
        args+=(-object "memory-backend-ram,id=m$n,size=512M" -numa "node,nodeid=$n,cpus=$n,memdev=m$n")
    done
    timeout 400 qemu-system-x86_64 -accel tcg -cpu max -nographic -no-reboot -kernel "$kernel" \
        -initrd "$work/initrd" "${args[@]}" \
        -append "console=ttyS0 quiet panic=-1 rdinit=/init xs_nodes=$1" </dev/null 2>&1 | tr -d '\r' >"$work/out-$1"
}
# The lines of a case.
of() { # NODES CASE
    awk -v c="$2" '$1 == "case" { on = $2 == c } on' "$work/out-$1"
}

for nodes in 2 4; do
    emulate $nodes
    grep -q '^case end' "$work/out-$nodes" || {
        fail "$nodes nodes: the emulated machine did not get to the end"
        tail -n 30 "$work/out-$nodes"
        continue
    }
    for c in off local interleave bind preferred; do
        of $nodes $c | grep -q '^status 0' || fail "$nodes nodes, $c: $(of $nodes $c | head -n 5)"
    done
    echo "$nodes nodes:"
    of $nodes local | grep -E '^(node|spread)|nodes:'
    of $nodes local | awk '/^node/ { n++; if ($4 < 95) bad = 1 } END { exit bad || n != '$nodes' }' ||
        fail "$nodes nodes: less than 95 % of a thread's pages are local"
    of $nodes local | tr '\n' ' ' | grep -qE "nodes: .* 1 has .* $nodes of +$nodes +have an arena" || fail "$nodes nodes: the report"
    echo "interleave: $(of $nodes interleave | grep '^interleaved')"
    # Even: no node has less than nine tenths of the mean.
    of $nodes interleave | awk '/^interleaved/ { for (i = 2; i <= NF; i++) { s += $i; if (i == 2 || $i < m) m = $i }
        seen = 1; exit m * (NF - 1) < 0.9 * s ? 1 : 0 } END { exit !seen }' || fail "$nodes nodes: uneven"
    echo "bind:1: $(of $nodes bind | grep '^node' | tr '\n' ' ')"
    of $nodes bind | awk '/^node/ { if ($2 == 1 ? $4 < 95 : $4 > 5) bad = 1; n++ } END { exit bad || n != '$nodes' }' ||
        fail "$nodes nodes: bind:1 does not keep to node 1"
    of $nodes preferred | awk '/^node 1/ { seen = $4 >= 95 } END { exit !seen }' || fail "$nodes nodes: preferred:1"
    of $nodes run | grep -qx 'runs on 1, 1 processors' || fail "$nodes nodes: XSIGMA_CPU_NUMA_RUN=1"
done
finish
