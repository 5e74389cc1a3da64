#!/bin/bash
# A library opened with RTLD_DEEPBIND and its program free and grow each other's blocks.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

deepbind=$(program deepbind) || exit 1
libdeep=$(program libdeep) || exit 1
under_each "$deepbind" "$libdeep"
under_each XSIGMA_DISABLE=1 -- "$deepbind" "$libdeep"
finish
