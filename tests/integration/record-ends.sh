#!/bin/bash
# However a process ends, its report or its record has the right numbers.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
# The distribution's: another may be a script that starts it.
PATH=/usr/bin:/bin:$PATH
need python3

ends=$(program ends) || exit 1
tool=$build/xsigma
records=$work/records

# Numbers of a JSON report, as "allocations frees requested reallocs how status".
numbers() {
    python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
t = r["cpu"]["totals"]
print(t["allocations"], t["frees"], t["requested_bytes"], t["reallocs"],
      r["process"]["how"].replace(" ", "-"), r["process"]["status"])' "$1"
}

# Runs a command with its report as JSON; where it gives none, the one from its record. Sets `got`.
got=''
run() { # COMMAND...
    local pid
    rm -f "$work/own.json" "$work/record.json" "$records"/*
    (export LD_PRELOAD=$lib XSIGMA_STATS_FILE=$work/own.json XSIGMA_RECORD=$records
     exec "$@") >"$work/out" 2>"$work/err" </dev/null &
    pid=$!
    wait $pid 2>/dev/null
    if [ -s "$work/own.json" ]; then
        [ -z "$(ls "$records")" ] || fail "$*: a report, and the record is still there"
        got=$(numbers "$work/own.json")
    else
        XSIGMA_RECORD=$records "$tool" report --json $pid >"$work/record.json" 2>"$work/err" ||
            fail "$*: no report and no record: $(cat "$work/err")"
        got=$(numbers "$work/record.json")
    fi
}

# What the blocks alone make of it: the same without any is taken off.
check() { # WAY HOW STATUS
    local base blocks=4001
    run "$ends" "$1" 0
    base=$got
    run "$ends" "$1" $blocks
    # shellcheck disable=SC2086 # words
    set -- "$@" $got $base
    [ $(($4 - ${10})) -eq $blocks ] || fail "$1: $(($4 - ${10})) allocations instead of $blocks"
    [ $(($5 - ${11})) -eq 1001 ] || fail "$1: $(($5 - ${11})) frees instead of 1001"
    [ $(($6 - ${12})) -eq $((100 * blocks)) ] || fail "$1: $(($6 - ${12})) bytes instead of $((100 * blocks))"
    [ "$8" = "$2" ] || fail "$1: it ended by '$8' instead of '$2'"
    [ "$9" = "$3" ] || fail "$1: status $9 instead of $3"
}
# All of a tree in one report, on stderr, whatever the program's status; nothing stays in TMPDIR.
mkdir "$work/tmp"
cat >"$work/both" <<END
#!/bin/sh
"$ends" exit 1000 || "$ends" exit 3000 || exit 5
END
chmod 755 "$work/both"
TMPDIR=$work/tmp "$tool" run --lib "$lib" --children -- "$work/both" >"$work/out" 2>"$work/err" && fail "--children: status 0"
grep -q ' 3 processes ' "$work/err" || fail "--children: not one report of 3: $(cat "$work/err")"
[ "$(grep -c '^xsigma 0' "$work/err")" -eq 1 ] || fail "--children: not one report: $(cat "$work/err")"
[ -z "$(ls "$work/tmp")" ] || fail "--children leaves $(ls "$work/tmp")"

check return exit 3
check exit exit 3
check _exit _exit 3
check abort abort None
for way in term kill trap overflow; do
    check $way ended-without-a-report None
done

# Real programs against valgrind's count of the same: a reallocation is an allocation and a free there.
need valgrind
grind() { # COMMAND...
    valgrind --run-libc-freeres=no --run-cxx-freeres=no "$@" 2>&1 >"$work/out" </dev/null |
        sed -nE 's/.*total heap usage: ([0-9,]+) allocs, ([0-9,]+) frees, ([0-9,]+) bytes.*/\1 \2 \3/p' |
        tr -d ,
}
same() { # LABEL COMMAND...
    local label=$1 theirs
    shift
    theirs=$(grind "$@")
    run "$@"
    # shellcheck disable=SC2086 # words
    set -- $got
    [ "$(($1 + $4)) $(($2 + $4)) $3" = "$theirs" ] ||
        fail "$label: $(($1 + $4)) allocations, $(($2 + $4)) frees, $3 bytes instead of $theirs"
}
printf '3\n1\n2\n' >"$work/unsorted"
mkdir "$work/dir" && touch "$work/dir/"{a,b,c}
# Those in Rust look at their own name, which valgrind changes.
gnu() { # COMMAND
    command -v "gnu$1" || command -v "$1"
}
same sort "$(gnu sort)" "$work/unsorted"
same ls "$(gnu ls)" -l "$work/dir"
same cat "$(gnu cat)" "$work/unsorted"
# These read their environment, which is not the same there: the difference of two runs is.
more() { # LABEL PREFIX... -- ARGUMENT ARGUMENT
    local label=$1 one two ours theirs command=()
    shift
    while [ "$1" != -- ]; do
        command+=("$1")
        shift
    done
    theirs="$(grind "${command[@]}" "$2") $(grind "${command[@]}" "$3")"
    run "${command[@]}" "$2"
    one=$got
    run "${command[@]}" "$3"
    two=$got
    ours=$(echo "$one $two" | awk '{ print $7 + $10 - $1 - $4, $8 + $10 - $2 - $4, $9 - $3 }')
    theirs=$(echo "$theirs" | awk '{ print $4 - $1, $5 - $2, $6 - $3 }')
    [ "$ours" = "$theirs" ] || fail "$label: the second has $ours more than the first instead of $theirs"
}
words=$(seq -s ' ' 300)
more "sh -c" sh -c -- 'set -- 1; exit 0' "set -- $words; exit 0"
export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
more "os._exit" python3 -S -c -- 'import os; x = list(range(10)); os._exit(9)' \
    'import os; x = [str(i) for i in range(5000)]; os._exit(9)'
finish
