#!/bin/bash
# Forks from threads of a busy process never hang, and each child can allocate.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

limit_s=120
under_each "$(program fork_threads)"
# From several threads at once.
under_each "$(program fork_many)" 1500
# Who looks at a fork whether there are threads, as Python does, sees none of ours.
counts=$(program fork_counts) || exit 1
want=$("$counts")
for policy in "${policies[@]}"; do
    out=$(under "$policy" "$counts") || fail "$policy: fork_counts: status $?"
    [ "$out" = "$want" ] || fail "$policy: threads at a fork: ${out//$'\n'/, }, without us ${want//$'\n'/, }"
done
finish
