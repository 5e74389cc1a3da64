#!/bin/bash
# include/xsigma.h and xsigma.hpp, from a program that links with the library, under every policy.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need c++
c++ -std=c++17 -O1 -Wall -Wextra -I"$root/include" "$root/tests/programs/linked/api.cc" -o "$work/api" \
    -L"$(dirname "$lib")" -lxsigma -Wl,-rpath,"$(dirname "$lib")" || fail "it does not build"
for policy in XSIGMA_CPU_BACKEND=system XSIGMA_CPU_BACKEND=bfc XSIGMA_CPU_BACKEND=mimalloc XSIGMA_CPU_BACKEND=tbb \
    "XSIGMA_CPU_ROUTE=$route" "XSIGMA_CPU_ROUTE=<=1K:tbb,<=256K:mimalloc,*:system" \
    "XSIGMA_CPU_ROUTE=$own_route" "XSIGMA_CPU_ALIGN=128"; do
    env "$policy" XSIGMA_STATS_FILE="$work/report.json" "$work/api" >"$work/out" ||
        { fail "$policy"; cat "$work/out"; }
done
# A C program sees a plain C header.
printf '#include <xsigma.h>\nint main(void) { return xsigma_version()[0] == 0; }\n' >"$work/c.c"
cc -std=c11 -pedantic -Wall -Wextra -Werror -I"$root/include" "$work/c.c" -o "$work/c" \
    -L"$(dirname "$lib")" -lxsigma -Wl,-rpath,"$(dirname "$lib")" || fail "the header is not plain C"
XSIGMA_STATS=0 "$work/c" || fail "the C program"
finish
