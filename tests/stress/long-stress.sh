#!/bin/bash
# stress.sh for longer, with other seeds.
# timeout: 1800
dir=$(dirname "$0")
for seed in 2 3 4; do
    "$dir/stress.sh" 8 $seed || exit
done
