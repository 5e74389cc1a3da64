#!/bin/bash
# The files of prog-gcc, several times as large.
# timeout: 900
export GCC_FUNCTIONS=300 GCC_CLASSES=12
exec "$(dirname "$0")/prog-gcc.sh"
