#!/bin/bash
# sort with several threads and a buffer that is too small, so that it merges temporary files.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need sort awk
awk 'BEGIN {
    x = 1
    for (i = 0; i < 300000; i++) {
        x = (x * 16807) % 2147483647
        printf "%d %s line number %d\n", x % 100000, substr("abcdefghijklmnopqrstuvwxyz", 1 + x % 20), i
    }
}' >lines
same_output -e sort-parallel sort -S 64M --parallel=4 lines
same_output -e sort-merge sort -S 2M --parallel=4 -k2,2 -k1,1n lines
same_output -e sort-unique sort -S 20M --parallel=3 -u -n lines
finish
