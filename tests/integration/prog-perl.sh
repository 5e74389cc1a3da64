#!/bin/bash
# perl: hashes of hashes, sorting, regular expressions, string building, closures, an alarm.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need perl
cat >work.pl <<'PERL'
use strict;
use warnings;
my (%count, %tree, @rows);
my $x = 12345;
sub rnd { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return ($x >> 8) % $_[0]; }
for my $i (1 .. 60000) {
    my $key = join '-', map { chr(97 + rnd(26)) x (1 + rnd(3)) } 1 .. 1 + rnd(4);
    $count{$key}++;
    push @{ $tree{ substr $key, 0, 1 }{ length $key } }, $key if rnd(3) == 0;
    delete $count{$key} if rnd(5) == 0;
}
print "$_ $count{$_}\n" for (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 200];
for my $first (sort keys %tree) {
    for my $length (sort { $a <=> $b } keys %{ $tree{$first} }) {
        my @sorted = sort @{ $tree{$first}{$length} };
        print "$first $length ", scalar @sorted, " $sorted[0] $sorted[-1]\n";
    }
}
my $text = join ' ', sort keys %count;
my $matches = () = $text =~ /\b(\w)\w*\1\b/g;
(my $changed = $text) =~ s/([aeiou]+)/<$1>/g;
print length($text), " $matches ", length($changed), " ", unpack('%32C*', $changed), "\n";
my @closures = map { my $n = $_; sub { $n += $_[0]; $n } } 1 .. 2000;
my $sum = 0;
$sum += $_->(3) for @closures, @closures;
print "$sum\n";
my $big = '';
$big .= pack('N', $_) for 1 .. 300000;
print unpack('%32N*', $big), "\n";
local $SIG{__WARN__} = sub { print "warned: $_[0]" };
warn "a warning\n";
PERL
PERL_HASH_SEED=0 same_output -e hashes perl work.pl
finish
