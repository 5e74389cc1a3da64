#!/bin/bash
# A signal handler may fork while the interrupted code is inside malloc.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

limit_s=30
under_each "$(program fork_signal)"
finish
