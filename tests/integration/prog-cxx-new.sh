#!/bin/bash
# A C++ program with over-aligned classes, sized deletes, every form of new, and bad_alloc.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

program aligned_new
same_output -e aligned_new "$xs_program"
finish
