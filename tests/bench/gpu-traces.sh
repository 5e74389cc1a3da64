#!/bin/bash
# tests/bench/gpu-traces.sh - the traces of gpu_traces under each back end: a Markdown table, and
# whether caching keeps what is claimed for it. On the fake driver; --native: on the machine's own.
# See gpu_traces.py for the options.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
export XS_LIB=${XS_LIB:-$root/build/libxsigma.so} XS_BUILD=${XS_BUILD:-$root/build}
if [ ! -r "$XS_LIB" ] || [ ! -x "$XS_BUILD/tests/bench/gpu_traces" ]; then
    echo "skip: nothing is built: make tests"
    exit 77
fi
exec python3 "$root/tests/bench/gpu_traces.py" "$@"
