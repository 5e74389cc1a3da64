#!/bin/bash
# The storm of prog-thread-storm for longer.
# timeout: 600
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

program thread_storm
same_output -e storm "$xs_program" 800
finish
