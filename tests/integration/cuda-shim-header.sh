#!/bin/bash
# The list of hooked calls against the toolkit's own lists of prototypes: every call that takes a
# stream is there, at the argument that is the stream, and so is every form that uses the thread's.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"

cuda=${CUDA_HOME:-/usr/local/cuda}
[ -r "$cuda/include/cudaTypedefs.h" ] || skip "no toolkit in $cuda"

# Calls that submit nothing: questions, and what waits for the host's side only.
harmless='^(cuStream(Get(Priority|Flags|Ctx|Id|Device|Attribute|CaptureInfo|GreenCtx)|SetAttribute|CopyAttributes|'
harmless+='IsCapturing|Query|Synchronize|UpdateCaptureDependencies)|cuOccupancy[A-Za-z]*|cuGraphInstantiateWithParams) '

# name version form where, of the toolkit; one that a call makes is no argument.
cat "$cuda"/include/{cudaTypedefs,cudaGLTypedefs,cudaEGLTypedefs,cudaVDPAUTypedefs}.h 2>/dev/null | awk '
    # The forms from before CUDA 3.2 have 32-bit device pointers.
    /^typedef CUresult *\(CUDAAPI \*PFN_cu/ && !/_v1\)|CUdeviceptr_v1|MEMCPY[23]D_v1/ {
        line = $0
        sub(/.*PFN_/, "", line)
        name = line
        sub(/_v[0-9].*/, "", name)
        version = line
        sub(/^[^)]*_v/, "", version)
        sub(/\).*/, "", version)
        form = version ~ /_pts?[dz]s?$/ ? "thread" : "plain"
        sub(/_.*/, "", version)
        args = line
        sub(/^[^(]*\(/, "", args)
        n = split(args, arg, ",")
        where = "none"
        for (i = 1; i <= n; i++) {
            if (arg[i] ~ /(CUstream|struct CUstream_st \*) *[a-zA-Z]*[); ]*$/) where = i - 1
            if (arg[i] ~ /CUlaunchConfig/) where = "in the configuration"
            if (arg[i] ~ /CUstream CUDAAPI \*pStream/) where = "behind a pointer"
        }
        if (where != "none" || form == "thread") print name, version, form, where
    }' | grep -vE "$harmless" | sort -u >"$work/toolkit"
[ "$(wc -l <"$work/toolkit")" -ge 100 ] || fail "only $(wc -l <"$work/toolkit") calls with a stream in the toolkit's lists"

# The same of ours. A function of its own looks at the stream where it must; that is seen elsewhere.
awk '
    /define XS_HOOK_CALLS/ { list = "calls" }
    /define XS_HOOK_STREAMS\(/ { list = "streams" }
    /define XS_HOOK_STREAMS_ALONE/ { list = "alone" }
    /define XS_HOOK_THREADS/ { list = "threads" }
    /^  X\(/ {
        sub(/^  X\(/, "")
        sub(/\).*/, "")
        split($0, f, ", *")
        thread = f[2] < 7000 ? 7000 : f[2]
        if (list == "calls") print f[1], f[2], f[3] ? "thread" : "plain", "own"
        if (list == "streams" || list == "alone") print f[1], f[2], "plain", f[4]
        if (list == "streams") print f[1], thread, "thread", f[4]
        if (list == "threads") print f[1], f[2], "thread", "none"
    }' "$root/cuda_shim/hooks.h" | sort -u >"$work/ours"

awk '
    NR == FNR { ours[$1, $2, $3] = $4; next }
    !(($1, $2, $3) in ours) { print "not hooked:", $0; next }
    { w = ours[$1, $2, $3] }
    w != "own" && w != $4 { print "the stream is argument", $4 ", not", w ":", $0 }
' "$work/ours" "$work/toolkit" >"$work/wrong"
[ -s "$work/wrong" ] && { fail "lists differ:"; cat "$work/wrong"; }
awk 'NR == FNR { theirs[$1]; next } $4 != "own" && !($1 in theirs) { print }' "$work/toolkit" "$work/ours" >"$work/more"
echo "$(wc -l <"$work/toolkit") calls of the toolkit; of ours it has not: $(cut -d' ' -f1 "$work/more" | sort -u | tr '\n' ' ')"
finish
