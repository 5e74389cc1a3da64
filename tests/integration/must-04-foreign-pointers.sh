#!/bin/bash
# free, realloc and malloc_usable_size of blocks that libc made by itself reach libc.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

under_each -- "$(program contract/contract)" foreign-pointers
under_each XSIGMA_STATS=0 -- "$(program contract/contract)" foreign-pointers
finish
