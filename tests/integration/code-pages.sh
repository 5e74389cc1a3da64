#!/bin/bash
# The code that an ordinary program makes run lies side by side, as preload/order.list has it: all of the
# library's would count as resident otherwise, since the kernel maps what is around a page that is touched.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind python3

mapfile -t pages < <("$root/scripts/make-order" --pages)
[ ${#pages[@]} -eq 2 ] || fail "make-order --pages says: ${pages[*]-}"
echo "code of a run spans ${pages[0]-} pages, with a report ${pages[1]-}"
[ "${pages[0]:-99}" -le "$(bound 26)" ] || fail "${pages[0]-} pages: run scripts/make-order"
[ "${pages[1]:-99}" -le "$(bound 40)" ] || fail "${pages[1]-} pages with a report: run scripts/make-order"
finish
