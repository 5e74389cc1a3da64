#!/bin/bash
# ENOMEM, overflow and alignment on every back end, as glibc has them.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

calls=$(program contract/contract) || exit 1
for case in sizes zero-size too-large overflow alignment bad-alignment pages; do
    under_each -- "$calls" "$case"
done
limit_s=120
under_each -- "$(program contract/contract)" exhaustion
finish
