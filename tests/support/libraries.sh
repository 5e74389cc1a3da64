# shellcheck shell=bash
# libraries.sh - where the back ends' libraries are, for test scripts: as the loader finds them.

# Prints the path of a library by its soname; false if it is not there.
find_library() { # SONAME
    local dir dirs path
    IFS=: read -ra dirs <<<"${LD_LIBRARY_PATH-}"
    for dir in "${dirs[@]}"; do
        [ -n "$dir" ] && [ -e "$dir/$1" ] && printf '%s\n' "$dir/$1" && return
    done
    path=$(/sbin/ldconfig -p | awk -v name="$1" '$1 == name { print $NF; exit }')
    [ -n "$path" ] && printf '%s\n' "$path"
}

# Prints the path of the mimalloc that the library takes: as XSIGMA_CPU_MIMALLOC_LIBRARY has it.
find_mimalloc() {
    find_library libmimalloc.so.2 || find_library libmimalloc.so.3
}

# Prints mi_version() of a mimalloc, as the library itself tells it.
mimalloc_version() { # PATH
    python3 -c 'import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).mi_version())' "$1" 2>/dev/null
}

# Is a back end's library there, and one that is taken? Without it the library falls back, and its
# tests say nothing.
have_backend() { # NAME
    local path
    case $1 in
        mimalloc)
            path=$(find_mimalloc) || return
            case $(mimalloc_version "$path") in
                300 | 301) return 1 ;;          # hands out blocks twice
                '' | [01]* | 20[0-8]) return 1 ;; # too old
            esac
            ;;
        tbb) find_library libtbbmalloc.so.2 >/dev/null ;;
        *) true ;;
    esac
}

# Does mimalloc serve blocks of every size? Version 3 leaves the large ones to the own core.
mimalloc_serves_all() {
    case $(mimalloc_version "$(find_mimalloc)") in
        3*) return 1 ;;
    esac
}
