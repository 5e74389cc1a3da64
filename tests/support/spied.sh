# shellcheck shell=bash
# spied.sh - what a runtime was answered, by programs/libcuda_spy.c. Sourced after must.sh, not run.

sed 's/#.*//' "$root/cuda_shim/exports.list" | tr -s ' ' '\n' | grep . | sort >"$work/hooked"

# Of the look-ups in $work/spy: the answers are the driver's, and are ours exactly where we have one.
check_spied() { # WHAT
    grep ': .*instead of' "$work/spy" && fail "$1: results are not the driver's"
    awk 'NR == FNR { hooked[$1]; next } ($(NF - 1) in hooked) != ($NF == "libxsigma.so")' \
        "$work/hooked" "$work/spy" >"$work/wrong"
    [ -s "$work/wrong" ] && { fail "$1: wrongly hooked or not:"; head "$work/wrong"; }
    echo "$1: $(wc -l <"$work/spy") look-ups, $(grep -c ' libxsigma.so$' "$work/spy") hooked"
}
