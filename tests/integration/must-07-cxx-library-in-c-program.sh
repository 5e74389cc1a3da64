#!/bin/bash
# A C program opens a C++ library: no operator or malloc of it is bound to a back end's library.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

cxx_opened=$(program cxx_opened) || exit 1
libcxx_part=$(program libcxx_part) || exit 1
have_backend mimalloc || skip "libmimalloc is not installed"
under_each "$cxx_opened" "$libcxx_part"
for policy in "${policies[@]}"; do
    rm -f "$work"/bindings.*
    under "$policy" LD_DEBUG=bindings "LD_DEBUG_OUTPUT=$work/bindings" -- "$cxx_opened" "$libcxx_part" \
        >/dev/null 2>&1
    cat "$work"/bindings.* >"$work/all" 2>/dev/null
    grep -q 'libcxx_part.*normal symbol .*_Znwm' "$work/all" ||
        fail "$policy: the bindings do not show the library's operator new"
    # A back end may refer to itself; nobody else may reach it by name.
    grep -E "normal symbol .(malloc|free|calloc|realloc|aligned_alloc|posix_memalign|_Z(nw|na|dl|da))" "$work/all" |
        grep -E ' to [^ ]*lib(mi|tbb)malloc[^ ]* ' |
        grep -vE 'binding file [^ ]*lib(mi|tbb)malloc' >"$work/wrong"
    if [ -s "$work/wrong" ]; then
        fail "$policy: bound past the library:"
        head -n 5 "$work/wrong"
    fi
done
finish
