#!/bin/bash
# Known sites within the printed intervals in 90 of 100 seeds, on every back end.
# timeout: 900
export BACKEND_SEEDS=100
exec "$(dirname "$0")/sites.sh"
