#!/bin/bash
# Thread-local state is reached without calls (initial-exec) and is small.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need readelf nm

readelf -dW "$lib" | grep -q STATIC_TLS || fail "no STATIC_TLS flag"
nm -D "$lib" | grep -q __tls_get_addr && fail "refers to __tls_get_addr"
readelf -rW "$lib" | grep -qE 'DTPMOD|TLSDESC' && fail "dynamic TLS relocations"
tls=$(readelf -lW "$lib" | awk '$1 == "TLS" { print $6 }')
echo "TLS segment: $((${tls:-0})) bytes"
[ $((${tls:-0})) -lt 256 ] || fail "the TLS segment has $((tls)) bytes"
readelf -dW "$lib" | grep -q NODELETE || fail "the library could be unloaded: no NODELETE"
readelf -lW "$lib" | grep GNU_STACK | grep -q E && fail "executable stack"
readelf -dW "$lib" | grep -qE 'RPATH|RUNPATH|TEXTREL' && fail "RPATH, RUNPATH or TEXTREL"
finish
