#!/bin/bash
# The code that an ordinary program makes run lies side by side, as preload/order.list has it: all of the
# library's would count as resident otherwise, since the kernel maps what is around a page that is touched.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind python3

# A run that something else holds up takes a snapshot on its way, whose code is elsewhere.
lines=()
for _ in 1 2 3; do
    mapfile -t now < <("$root/scripts/make-order" --pages)
    [ ${#now[@]} -eq 2 ] || fail "make-order --pages says: ${now[*]-}"
    for i in 0 1; do
        # shellcheck disable=SC2206 # words
        new=(${now[i]:-99 99 99}) old=(${lines[i]:-99 99 99})
        [ "${new[0]}" -ge "${old[0]}" ] || lines[i]=${now[i]}
    done
done
check() { # PAGES PARTS NOT_KEPT WHAT MOST MOST_PARTS - another compiler than the list's sets other functions apart
    echo "code of a $4 spans $1 pages, in $2 parts of 64 KiB; $3 pages of it are not kept after start"
    if is_measured_compiler; then
        [ "$1" -le "$5" ] || fail "$4: $1 pages: run scripts/make-order"
        [ "$3" -le 2 ] || fail "$4: $3 pages are not kept: run scripts/make-order"
    else
        [ "$2" -le "$6" ] || fail "$4: $2 parts of 64 KiB"
    fi
}
# shellcheck disable=SC2086 # words
check ${lines[0]:-99 99 99} run 34 4
# shellcheck disable=SC2086
check ${lines[1]:-99 99 99} "run with a report" 40 5
finish
