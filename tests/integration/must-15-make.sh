#!/bin/bash
# make -j prints the same bytes with the library as without; its children are silent.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need make

cat >"$work/Makefile" <<'MAKE'
targets := $(shell seq 1 24)
all: $(targets)
	@echo all done; echo to stderr >&2
$(targets):
	@x=`echo $@ | sed s/1/one/`; test -n "$$x"
	@sh -c 'ls / > /dev/null; exit 0'
.PHONY: all $(targets)
MAKE
run_make() {
    make --no-print-directory -j4 -C "$work" -f "$work/Makefile" >"$1.out" 2>"$1.err"
}
export -f run_make
export work
run_make "$work/without" || fail "make without the library: status $?"
for policy in "${policies[@]}"; do
    # shellcheck disable=SC2016 # expanded by the inner shell
    under "$policy" "XSIGMA_STATS_FILE=$work/report-$policy-%p.txt" -- \
        bash -c 'run_make "$1"' bash "$work/with" || fail "$policy: status $?"
    cmp "$work/without.out" "$work/with.out" || fail "$policy: standard output differs"
    cmp "$work/without.err" "$work/with.err" || fail "$policy: standard error differs"
    set -- "$work/report-$policy-"*
    { [ $# -eq 1 ] && [ -s "$1" ]; } || fail "$policy: not one report: $*"
done
finish
