# shellcheck shell=bash
# cgroup.sh - a memory cgroup for test scripts, of version 1 or 2. Sourced, not run.

xs_group=''

# Makes the group; false: none can be made here, or it takes no limit.
cgroup_make() {
    local name=xsigma-test-$$
    if mkdir "/sys/fs/cgroup/memory/$name" 2>/dev/null; then
        xs_group=/sys/fs/cgroup/memory/$name
    elif mkdir "/sys/fs/cgroup/$name" 2>/dev/null; then
        xs_group=/sys/fs/cgroup/$name
        if [ ! -e "$xs_group/memory.max" ]; then
            cgroup_remove
            return 1
        fi
    else
        return 1
    fi
    cgroup_limit $((64 << 20)) && cgroup_limit -1 && return
    cgroup_remove
    return 1
}

cgroup_remove() {
    [ -z "$xs_group" ] || rmdir "$xs_group"
    xs_group=''
}

# Of memory without swap.
cgroup_limit() { # BYTES, or -1
    if [ -e "$xs_group/memory.max" ]; then
        local bytes=$1
        [ "$bytes" = -1 ] && bytes=max
        echo "$bytes" >"$xs_group/memory.max" || return
        { echo 0 >"$xs_group/memory.swap.max"; } 2>/dev/null
        return 0
    fi
    echo -1 >"$xs_group/memory.memsw.limit_in_bytes" 2>/dev/null
    echo -1 >"$xs_group/memory.limit_in_bytes"
    echo "$1" >"$xs_group/memory.limit_in_bytes" || return
    { echo "$1" >"$xs_group/memory.memsw.limit_in_bytes"; } 2>/dev/null
    return 0
}

# Prints the most that was used, and forgets it where the kernel can; files that were read count.
cgroup_peak() {
    if [ -e "$xs_group/memory.max_usage_in_bytes" ]; then
        cat "$xs_group/memory.max_usage_in_bytes"
        echo 0 >"$xs_group/memory.max_usage_in_bytes"
    else
        cat "$xs_group/memory.peak" 2>/dev/null || echo $((1 << 30))
    fi
}

# In the group.
cgroup_run() { # COMMAND...
    (
        echo $BASHPID >"$xs_group/cgroup.procs"
        exec "$@"
    )
}

# Sets cgroup_least, within a PART-th: the command succeeds twice in it. It does not with the lower limit,
# and does with the higher one. The limit is left at what was tried last.
cgroup_least=0
cgroup_find_least() { # LOW HIGH PART COMMAND...
    local low=$1 high=$2 part=$3 middle
    shift 3
    while [ $((high - low)) -gt $((high / part)) ]; do
        middle=$(((low + high) / 2))
        cgroup_limit $middle
        if "$@" && "$@"; then
            high=$middle
        else
            low=$middle
        fi
    done
    # shellcheck disable=SC2034 # for who sources this
    cgroup_least=$high
}
