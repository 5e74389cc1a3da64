#!/bin/bash
# The files of prog-gcc, several times as large.
# timeout: 900
export GCC_FUNCTIONS=5000 GCC_CLASSES=100
exec "$(dirname "$0")/prog-gcc.sh"
