#!/bin/bash
# Programs that bring a malloc of their own: exported, hidden, or in a library that they open.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

own=$(program own_malloc) && hidden=$(program own_malloc_hidden) &&
    opened=$(program own_malloc_opened) && libown=$(program libown_malloc) || exit 1
under_each "$own"
under_each "$hidden"
under_each "$opened" "$libown"
for policy in "${policies[@]}"; do
    out=$(under "$policy" XSIGMA_STATS=0 "$own" 2>"$work/err")
    [ "$out" = "own malloc" ] || fail "$policy: a program with its own malloc prints: $out"
    [ "$(wc -l <"$work/err")" -le 1 ] || fail "$policy: more than one line about it: $(cat "$work/err")"
done
# Its operator new calls its malloc, and blocks of the C interface stay apart from it.
own_new=$(program own_malloc_new) && own_api=$(program own_malloc_api) || exit 1
for command in "$own_new" "$own_api"; do
    want=$("$command" 2>&1) || fail "${command##*/} without the library: status $?: $want"
    for policy in "${policies[@]}"; do
        for stats in 0 1; do
            out=$(under "$policy" XSIGMA_STATS=$stats "$command" 2>"$work/err")
            rc=$?
            { [ $rc -eq 0 ] && [ "$out" = "$want" ]; } || {
                fail "$policy, XSIGMA_STATS=$stats: ${command##*/}: status $rc"
                diff <(printf '%s\n' "$want") <(printf '%s\n' "$out")
            }
        done
    done
done
# A library's malloc that the program mixes with other calls of that library (redis 8 and jemalloc).
need "${CC:-cc}"
linked=$root/tests/programs/linked
"${CC:-cc}" -O1 -fno-builtin -shared -fPIC "$linked/libmixed.c" -o "$work/libmixed.so" || fail "cannot build libmixed"
"${CC:-cc}" -O1 -fno-builtin "$linked/mixed.c" -o "$work/mixed" "$work/libmixed.so" || fail "cannot build mixed"
[ "$("$work/mixed")" = 100 ] || fail "mixed without the library: $("$work/mixed" 2>&1)"
for policy in "${policies[@]}"; do
    out=$(under "$policy" XSIGMA_STATS=0 "$work/mixed" 2>"$work/err")
    { [ "$out" = 100 ] && [ "$(grep -c 'libmixed.so brings its own malloc' "$work/err")" = "$(wc -l <"$work/err")" ]; } ||
        fail "$policy: malloc mixed with another library's calls: $out: $(cat "$work/err")"
done
# Its report, if there is one, claims no traffic.
under mimalloc XSIGMA_STATS=1 "XSIGMA_STATS_FILE=$work/own.json" "$own" >/dev/null 2>&1
if [ -e "$work/own.json" ]; then
    [ "$(json_get "$work/own.json" process.passive)" = true ] || fail "the report does not say that we stand aside"
    [ "$(json_get "$work/own.json" cpu.totals.allocations)" = 0 ] || fail "the report claims allocations"
fi
finish
