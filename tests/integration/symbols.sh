#!/bin/bash
# The library exports exactly the names of its lists, the whole family among them, and needs only
# libc; the names of CUDA's bear the version that hides them from dlsym, and no other does. The
# variable that every malloc loads lies where scripts/make-link-script wants it.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need nm readelf

names() { # LIST
    sed 's/#.*//' "$1" | tr -s '[:space:]' '\n' | grep . | sort
}
nm -D --defined-only "$lib" | awk '$2 ~ /^[A-Z]$/ && $2 != "A" { print $3 }' | sort >"$work/exported"
for list in "$root/preload/exports.list" "$root/cuda_shim/exports.list"; do
    [ -n "$(names "$list")" ] || fail "$list lists nothing"
    names "$list" | grep -q '[*?]' && fail "$list has patterns: $(names "$list" | grep '[*?]')"
done
{
    names "$root/preload/exports.list"
    names "$root/cuda_shim/exports.list" | sed 's/$/@XSIGMA_CUDA/'
} | sort >"$work/listed"
diff "$work/listed" "$work/exported" >"$work/diff" || {
    fail "the lists (<) and the library (>) differ:"
    cat "$work/diff"
}

family=(malloc free calloc realloc reallocarray free_sized free_aligned_sized posix_memalign
    aligned_alloc memalign valloc pvalloc malloc_usable_size cfree malloc_trim mallopt mallinfo
    mallinfo2 malloc_stats malloc_info _exit _Exit abort)
align=St11align_val_t nothrow=RKSt9nothrow_t
for op in _Znwm _Znam; do
    family+=("$op" "$op$nothrow" "$op$align" "$op$align$nothrow")
done
for op in _ZdlPv _ZdaPv; do
    family+=("$op" "${op}m" "$op$nothrow" "$op$align" "${op}m$align" "$op$align$nothrow")
done
operators=$(printf '%s\n' "${family[@]}" | grep -c '^_Z')
[ "$operators" -eq 20 ] || fail "this test knows $operators operators, not 20"
for name in "${family[@]}"; do
    grep -qxF "$name" "$work/exported" || fail "does not export $name"
done
# Names that peers export and that hand a program's own free a foreign block.
for name in strdup strndup wcsdup getline malloc_size vfree reallocf _aligned_malloc __libc_malloc __libc_free; do
    grep -qxF -- "$name" "$work/exported" && fail "exports $name"
done
readelf -dW "$lib" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p' >"$work/needed"
grep -vxE 'lib(c|m|dl|pthread|rt)\.so\.[0-9]+|ld-linux[a-z0-9_-]*\.so\.[0-9]+' "$work/needed" >"$work/wrong" &&
    fail "needs more than glibc: $(tr '\n' ' ' <"$work/wrong")"
if [ -s "$root/build/release/link.ld" ]; then
    bytes=$(readelf -lW "$lib" | awk '$1 == "TLS" { print $6 }')
    at=$(readelf -sW "$lib" | awk '$8 == "xs_heap_mine" { print $2 }')
    [ $(((bytes - 0x$at) % 64)) -eq 48 ] || fail "xs_heap_mine at 0x$at of $bytes bytes, so not 0x10 of a cache line"
fi
finish
