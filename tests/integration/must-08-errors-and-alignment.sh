#!/bin/bash
# ENOMEM, overflow and alignment on every back end, as glibc has them.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

contract=$(program contract/contract) || exit 1
for case in sizes zero-size too-large overflow alignment bad-alignment pages; do
    under_each -- "$contract" "$case"
done
# Without a reservation: a limit on address space that is set later does not bound one made before.
under_each XSIGMA_RESERVE=off -- "$contract" exhaustion
finish
