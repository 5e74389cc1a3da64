# shellcheck shell=bash
# shellcheck disable=SC2154 # work, build and lib are of must.sh
# guest.sh - an emulated machine for test scripts: Debian's QEMU, in software, under Debian's kernel.
# Sourced after must.sh, not run.
#
#   guest_make                          # or the test is skipped
#   guest_add "$(program numa_where)"   # into its /bin, and its libraries
#   cat >"$guest/script" <<'SCRIPT'     # what it runs, by busybox; `run NAME COMMAND...` is there
#   guest_boot OUT 400 -smp 2 -m 1G     # the second is the most seconds
#   guest_of OUT NAME                   # the lines of what `run NAME` printed, and "status N"

guest=$work/guest
guest_kernel=''

guest_make() {
    local kernel c
    need qemu-system-x86_64 cpio busybox
    [ "$(uname -m)" = x86_64 ] || skip "the emulated machine is an x86-64"
    # By the package linux-image-amd64, or unpacked by scripts/setup test-all.
    for kernel in "$build"/kernel/boot/vmlinuz-* /boot/vmlinuz-*; do
        [ -r "$kernel" ] && guest_kernel=$kernel && break
    done
    [ -n "$guest_kernel" ] || skip "no kernel in build/kernel or /boot: scripts/setup test-all gets one"
    mkdir -p "$guest"/{bin,proc,sys,dev,dev/shm,tmp}
    cp "$(command -v busybox)" "$guest/bin/busybox"
    for c in $(busybox --list); do
        ln -s busybox "$guest/bin/$c" 2>/dev/null
    done
    cp "$lib" "$guest/libxsigma.so"
    cat >"$guest/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t cgroup2 none /sys/fs/cgroup
# A case: its lines, and its status.
run() {
    echo "case $1"
    shift
    "$@" 2>&1
    echo "status $?"
}
echo
. /script
echo "case end"
poweroff -f
INIT
    chmod 755 "$guest/init"
}

# The program, and the loader and the libraries of it at the paths where it looks for them.
guest_add() { # PROGRAM...
    local p f
    for p in "$@"; do
        cp "$p" "$guest/bin/${p##*/}"
        ldd "$p" | grep -o '/[^ ]*' | while read -r f; do
            mkdir -p "$guest/${f%/*}"
            cp -L "$f" "$guest/$f"
        done
    done
}

# Into $work/OUT. What the kernel is told besides: guest_append.
guest_append=''
guest_boot() { # OUT SECONDS ARGUMENT...
    local out=$work/$1 seconds=$2
    shift 2
    (cd "$guest" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initrd" || fail "no initial file system"
    timeout "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -nographic -no-reboot \
        -kernel "$guest_kernel" -initrd "$work/initrd" "$@" \
        -append "console=ttyS0 quiet nokaslr no_timer_check panic=-1 rdinit=/init $guest_append" </dev/null 2>&1 | tr -d '\r' >"$out"
    grep -q '^case end' "$out" && return
    fail "$1: the emulated machine did not get to the end"
    tail -n 30 "$out"
    return 1
}

guest_of() { # OUT CASE
    awk -v c="$2" '$1 == "case" { on = $2 == c; next } on' "$work/$1"
}
