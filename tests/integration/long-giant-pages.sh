#!/bin/bash
# Explicit huge pages of 1 GiB and 2 MiB, on an emulated machine whose kernel has reserved some.
# timeout: 500
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# shellcheck source=../support/guest.sh
. "$root/tests/support/guest.sh"
guest_make
guest_add "$(program cache_heavy)"
cat >"$guest/script" <<'SCRIPT'
json='env LD_PRELOAD=/libxsigma.so XSIGMA_STATS_FILE=/tmp/r.json'
free() {
    for f in /sys/kernel/mm/hugepages/*/free_hugepages; do echo "$f $(cat $f)"; done
}
# While it runs: what the kernel says of its mappings, by the last look that found some.
watch() { # COMMAND...
    rm -f /tmp/seen
    "$@" &
    while [ -r /proc/$!/numa_maps ]; do
        grep 'anon=.* kernelpagesize_kB=\(2048\|1048576\)$' /proc/$!/numa_maps >/tmp/now && mv /tmp/now /tmp/seen
        sleep 0.3
    done
    cat /tmp/seen
    wait $!
}
run reserve watch $json XSIGMA_RESERVE_HUGE_PAGES=1G cache_heavy 60 200 5
run reserve-json cat /tmp/r.json
# More than there are: the giant one, all small ones, and then the machine's memory.
run more watch $json XSIGMA_RESERVE_HUGE_PAGES=3G cache_heavy 1100 120 2
run more-json cat /tmp/r.json
run explicit watch $json XSIGMA_CPU_HUGE_PAGES=explicit cache_heavy 60 100 5
run explicit-json cat /tmp/r.json
run after free
SCRIPT
guest_append='hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=64'
guest_boot out 280 -smp 2 -m 3G || finish
memory() { # CASE FIELD
    guest_of out "$1-json" | sed '$d' >"$work/$1"
    json_get "$work/$1" "cpu.memory_pages.$2"
}
# MiB that the kernel's numa_maps says of pages of so many KiB.
mapped() { # CASE KIB
    guest_of out "$1" | awk -v kib="$2" '$NF == "kernelpagesize_kB=" kib {
        for (i = 1; i <= NF; i++) if ($i ~ /^anon=/) n += substr($i, 6) } END { print n * kib / 1024 + 0 }'
}
is() { # CASE WHAT GOT WANTED
    [ "$3" = "$4" ] || fail "$1: $2: $3, not $4"
}
for c in reserve more explicit; do
    is $c "its end" "$(guest_of out $c | tail -n 1)" 'status 0'
    echo "$c: $(mapped $c 1048576) MiB in pages of 1 GiB, $(mapped $c 2048) in pages of 2 MiB"
done
is reserve giant "$(mapped reserve 1048576)" 1024
is reserve report "$(memory reserve explicit_bytes)" $((1 << 30))
is more giant "$(mapped more 1048576)" 1024
is more huge "$(mapped more 2048)" 128
is more report "$(memory more explicit_bytes)" $((1152 << 20))
is more refused "$(memory more explicit_refused_bytes)" $((1920 << 20))
[ "$(mapped explicit 2048)" -gt 64 ] || fail "explicit: $(mapped explicit 2048) MiB"
is reserve resident "$(memory reserve huge_bytes)" $((1 << 30))
# And all is the kernel's again.
is after pools "$(guest_of out after | awk '/free_hugepages/ { printf "%s ", $2 }')" '1 64 '
finish
