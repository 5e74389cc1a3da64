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
    if [ -n "$xs_group" ]; then
        cgroup_clear
        rmdir "$xs_group"
    fi
    xs_group=''
}

# Ends what is left in the group: where the limit killed one process, others may wait for it for ever,
# and what they hold counts.
cgroup_clear() {
    local pids
    for _ in {1..500}; do
        pids=$(<"$xs_group/cgroup.procs")
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086 # words on purpose
        kill -KILL $pids 2>/dev/null
        sleep 0.01
    done
}

# Another group takes its place, with the same limit: what the kernel keeps of dead processes is charged to
# the old one for a while, some hundred KiB where they are many.
cgroup_renew() {
    local limit
    cgroup_clear
    limit=$(cat "$xs_group/memory.max" "$xs_group/memory.limit_in_bytes" 2>/dev/null)
    for _ in {1..500}; do
        rmdir "$xs_group" 2>/dev/null && break
        sleep 0.01
    done
    mkdir -p "$xs_group"
    [ "$limit" = max ] || cgroup_limit "$limit"
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

# The command succeeds in two of three tries: what ran beside it may have failed it once.
cgroup_holds() { # COMMAND...
    local n passed=0
    for n in 1 2 3; do
        "$@" && passed=$((passed + 1))
        if [ $passed -ge 2 ] || [ $((passed + 3 - n)) -lt 2 ]; then break; fi
    done
    [ $passed -ge 2 ]
}

# Sets cgroup_least, within a PART-th: what holds the command. The lower limit does not, and the higher
# one does. The limit is left at what was tried last.
cgroup_least=0
cgroup_find_least() { # LOW HIGH PART COMMAND...
    local low=$1 high=$2 part=$3 middle
    shift 3
    while [ $((high - low)) -gt $((high / part)) ]; do
        middle=$(((low + high) / 2))
        if cgroup_limit $middle && cgroup_holds "$@"; then
            high=$middle
        else
            low=$middle
        fi
    done
    # shellcheck disable=SC2034 # for who sources this
    cgroup_least=$high
}

# The same from a guess: the steps up or down from it double until the least limit lies between two.
cgroup_find_near() { # GUESS PART COMMAND...
    local at=$1 part=$2 low=0 high=0 step=2
    shift 2
    while [ $low = 0 ] || [ $high = 0 ]; do
        if cgroup_limit $at && cgroup_holds "$@"; then
            high=$at
            at=$((at * (100 - step) / 100))
        else
            low=$at
            at=$((at * (100 + step) / 100))
        fi
        [ $step -ge 64 ] || step=$((step * 2))
    done
    cgroup_find_least $low $high $part "$@"
}
