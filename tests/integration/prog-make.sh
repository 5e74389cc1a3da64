#!/bin/bash
# make -j with shells and a compiler as children: the output is the same bytes, and while the root
# reports, its children are silent.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need make gcc dash
for i in 1 2 3 4 5 6 7 8; do
    echo "int part$i(int x) { return x * $i; }" >"part$i.c"
done
{
    for i in 1 2 3 4 5 6 7 8; do echo "int part$i(int);"; done
    echo '#include <stdio.h>'
    echo 'int main(void) { int s = 0;'
    for i in 1 2 3 4 5 6 7 8; do echo "s += part$i($i);"; done
    echo 'return printf("%d", s) < 0; }'
} >main.c
cat >Makefile <<'MK'
parts := $(patsubst %,part%.o,1 2 3 4 5 6 7 8) main.o
words := $(foreach i,1 2 3 4 5 6 7 8 9 10 11 12,word$(i))
SHELL := /bin/sh

all: show
	@rm -f main *.o word*
	@echo "a line on standard error" >&2
show: main $(words)
	@./main
	@cat $(words)
	@echo "environment: $$(env | grep -c XSIGMA_LEVEL)"
main: $(parts)
	@$(CC) -o $@ $^
%.o: %.c
	@$(CC) -O1 -c $< -o $@
word%:
	@for i in 1 2 3; do printf '%s ' "$*-$$i"; done >$@; (exec true); echo "$$(echo end)" >>$@
fail:
	@exit 3
.PHONY: all show fail
MK
same_output -e make make -s -j4 all
same_output -s 2 make-fails make -s -k fail

# The report on standard error, as a person gets it: once, whatever number of children.
xs_run_without make -s -j4 all >expected.out
mv "$xs_stderr" expected.err
xs_more=(XSIGMA_STATS=1 XSIGMA_STATS_FILE=)
for policy in "${xs_policies[@]}"; do
    xs_run "$policy" make -s -j4 all >got.out || fail "make under $policy: status $?"
    xs_runs=$((xs_runs + 1))
    xs_same_bytes "make under $policy: standard output" expected.out got.out
    [ "$xs_stand_in" = 0 ] || continue
    n=$(grep -c '^xsigma [0-9]' "$xs_stderr")
    [ "$n" = 1 ] || fail "make under $policy: $n reports on standard error, not 1"
    # Without the report, what is left is the program's.
    sed '/^xsigma [0-9]/,$d' "$xs_stderr" >got.err
    xs_same_bytes "make under $policy: standard error before the report" expected.err got.err
done
finish
