#!/bin/bash
# gpu.sh for longer: 20,000 programs with other seeds.
# timeout: 1800
exec "$(dirname "$0")/gpu.sh" 20000 1000000
