#!/bin/bash
# 64 threads at a time are created and end, and free each other's blocks.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

program thread_storm
same_output -e storm "$xs_program" 40
finish
