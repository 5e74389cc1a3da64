#!/bin/bash
# 200 forks from a thread of a busy process never hang, and each child can allocate.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

limit_s=120
under_each "$(program fork_threads)"
finish
