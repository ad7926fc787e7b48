#!/usr/bin/perl
# Writes seeds for fuzz_shadow, fuzz_store, fuzz_plan and fuzz_sql into directories of
# those names below another: inputs in the languages that the targets tell of.
#
#   perl fuzz/seed_tables.pl fuzz/corpus
#
# fuzz/corpus/NAME holds these (seed_*), what the fuzzer once found a fault with
# (fixed_*), and what it added to their coverage, by
#
#   build/fuzz/fuzz_NAME -merge=1 -use_counters=0 fuzz/corpus/NAME build/fuzz/corpus/NAME
use strict;
use warnings;

my $root = shift or die "usage: seed_tables.pl DIR\n";

sub write_file {
    my ($target, $name, @bytes) = @_;
    my $path = "$root/$target/seed_$name";
    open(my $out, ">:raw", $path) or die "$path: $!\n";
    print $out pack("C*", map { $_ & 255 } @bytes);
    close($out) or die "$path: $!\n";
}

# Which table, how many changes, these, and what is asked.
my %shadow_change = (
    none    => [0],
    gone    => [1, 0, 3],
    no_root => [1, 0, 255],
    null    => [1, 1, 2, 0],
    integer => [1, 1, 2, 1],
    text    => [1, 1, 2, 3],
    short   => [1, 2, 4, 100, 0],
    long    => [1, 2, 4, 0, 3],
    copied  => [1, 3, 1, 5],
    again   => [1, 4, 6, 9],
    moved   => [1, 5, 6, 5],
    flipped => [1, 7, 9, 1, 40, 0, 1],
    forged  => [1, 135, 9, 1, 40, 0, 1],
    lie     => [1, 135, 255, 0, 30, 0, 9],
    end     => [1, 135, 0, 129, 20, 0, 1],
    three   => [3, 7, 2, 1, 9, 0, 8, 7, 12, 1, 3, 1, 16, 1, 0, 1],
);
my @ask = (150, 7, 64, 5, 64, 135, 100, 0x1b, 1, 2, 3, 4, 5, 150, 130, 150);
for my $shape (0 .. 7) {
    for my $change (sort keys %shadow_change) {
        next if ($shape + length $change) % 3; # a third of them tells all
        write_file("shadow", "${shape}_$change", $shape | 8 * ($shape & 1) | 128,
            @{$shadow_change{$change}}, @ask[0 .. 3], 0, @ask[4 .. 15]);
    }
    write_file("shadow", "${shape}_statements_$_", $shape, 0, map { $_, 7 } $_ * 4 .. $_ * 4 + 3)
        for 40 + $shape * 3;
}

my %store_change = (
    none      => [0],
    gone      => [1, 0, 2],
    no_lock   => [1, 0, 250],
    directory => [1, 1, 1, 1],
    link      => [1, 1, 1, 0],
    swapped   => [1, 2, 1, 2],
    copied    => [1, 3, 5, 6],
    stranger  => [1, 4, 0, 1],
    short     => [1, 5, 0, 0, 200, 0],
    long      => [1, 5, 0, 131],
    flipped   => [1, 9, 0, 1, 100, 0, 1],
    forged    => [1, 137, 0, 1, 100, 0, 1],
    lie       => [1, 137, 4, 0, 100, 0, 7],
);
for my $shape (0 .. 7) {
    for my $change (sort keys %store_change) {
        next if ($shape + length $change) % 3;
        write_file("store", "${shape}_$change", $shape | 8 * ($shape & 1), @{$store_change{$change}},
            6, 195, 100, 1, 2, 130, 168, 220, 7, 215, 184, 6);
    }
}

# Which table; then an operation, two operands, and the plan, values or form.
for my $table (0 .. 5) {
    write_file("plan", "${table}_plans_$_", $table, map { (0, $_, 3 * $_, $_, 20 + $_, $_) } $_ .. $_ + 7)
        for 0, 40, 100, 160, 205;
    write_file("plan", "${table}_queries_$_", $table, map { (200, $_, 3 * $_, $_, 20 + $_, $_, 255, 3, 129, 200) } $_ .. $_ + 5)
        for 0, 100, 205;
    write_file("plan", "${table}_any", $table, map { (120, 0, $_, 0, 9, $_, 1 << $_ % 8, 0) } 0 .. 7);
}

# What kind of database, then statements: any bytes are some.
my $random = 1;
for my $number (0 .. 15) {
    my @bytes = ($number, $number * 5 % 256, $number * 11 % 256, 0, $number);
    for (1 .. 90) {
        $random = ($random * 1103515245 + 12345) % 2**31;
        push @bytes, $random >> 16 & 255;
    }
    write_file("sql", sprintf("%02d", $number), @bytes);
}
