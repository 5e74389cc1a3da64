#!/bin/bash
# XSIGMA_CPU_HARDENED=check costs at most 5 % more instructions in real programs, and full at most 4,000 for
# a malloc and its free in a shallow stack.
# shellcheck source=../support/must.sh
. "$(dirname "$0")/../support/must.sh"
need valgrind perl sqlite3
export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
cat >"$work/perl" <<'END'
my %h; my @a;
for my $i (1..20000) { my $k = "key" . ($i % 2000); $h{$k} .= "v$i,"; push @a, [split /,/, $h{$k}] if $i % 7 == 0; shift @a if @a > 300; }
print scalar(keys %h), "\n";
END
cat >"$work/sql" <<'END'
create table t(a integer primary key, b text);
with recursive c(n) as (select 1 union all select n+1 from c where n<8000) insert into t select n, 'text '||n from c;
select a%10, count(*), max(b) from t group by 1 order by 3;
END
instructions() { # MODE COMMAND...
    local mode=$1
    shift
    limit_s=120 under bfc "XSIGMA_CPU_HARDENED=$mode" "XSIGMA_STATS_FILE=$work/report" -- valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null <"$work/sql" | sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}
cost() { # NAME COMMAND...
    local off check
    off=$(instructions off "${@:2}")
    check=$(instructions check "${@:2}")
    if [ "${off:-0}" -eq 0 ] || [ "${check:-0}" -eq 0 ]; then
        fail "$1: valgrind gave no figure"
        return
    fi
    printf '%-10s off %d, check %d: %+.2f %%\n' "$1" "$off" "$check" "$(awk "BEGIN { print ($check / $off - 1) * 100 }")"
    [ "$check" -gt "$off" ] || fail "$1: check costs nothing, so it was not on"
    [ $((check * 1000)) -le $((off * (1000 + $(bound 50)))) ] || fail "$1: more than 5 %"
}
cost perl perl "$work/perl"
cost sqlite3 sqlite3 -init /dev/null :memory:
misuse=$(program misuse) || exit 1
pair=$(($(instructions full "$misuse" pairs) / 20000))
echo "full: $pair a malloc and free"
{ [ $pair -gt 500 ] && [ $pair -le "$(bound 4000)" ]; } || fail "full: $pair instructions a malloc and free"
finish
