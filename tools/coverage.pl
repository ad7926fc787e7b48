#!/usr/bin/perl
# Counts the lines and branches of core and ext that programs of a build made with
# --coverage have run so far.
#
#   tools/coverage.pl [-l] BUILD [FILE...]
#
# A line or a branch counts when any program ran it; and in a function of a header, in
# any of the files that include it. A branch is one way out of a condition: an `if` has
# two, and so has each part of it that `&&` or `||` joins. -l lists what was not run;
# FILE... looks at these files alone.
use strict;
use warnings;
use JSON::PP;

my $list = @ARGV && $ARGV[0] eq '-l' ? shift : '';
my $build = shift or die "usage: coverage.pl [-l] BUILD [FILE...]\n";
my %wanted = map { $_ => 1 } @ARGV;
my @notes = sort glob "$build/obj/core/*.gcno $build/obj/ext/*.gcno";
die "coverage: $build holds no objects made with --coverage\n" unless @notes;

my %files;    # path => { line => { run => n, branches => [n...] } }

sub take_file {
    my ($file) = @_;
    my ($path, %lines) = $file->{file};
    return unless $path =~ m{^(?:core|ext)/[^/]+\.[ch]$};
    return if %wanted && !$wanted{$path};
    for my $line (@{ $file->{lines} }) {
        my $at = $lines{ $line->{line_number} } //= { run => 0, branches => [] };
        $at->{run} += $line->{count};
        push @{ $at->{branches} }, map { $_->{count} } @{ $line->{branches} };
    }
    for my $number (keys %lines) {
        my $from = $lines{$number};
        my $to = $files{$path}{$number} //= { run => 0, branches => [] };
        $to->{run} += $from->{run};
        $to->{branches}[$_] += $from->{branches}[$_] for 0 .. $#{ $from->{branches} };
    }
}

# An object that no program ran leaves no data, which gcov says and takes for zeros.
open my $gcov, '-|', "gcov -b --json-format --stdout @notes 2>/dev/null"
    or die "coverage: gcov: $!\n";
while (my $text = <$gcov>) {
    take_file($_) for @{ decode_json($text)->{files} };
}
close $gcov or die "coverage: gcov failed\n";

sub print_counts {
    my ($name, $of) = @_;
    my $share = sub { my ($part, $all) = @_; return $all ? 100 * $part / $all : 100 };
    printf "%-28s %8d %7.2f%% %9d %8.2f%%\n", $name, $of->{lines},
        $share->($of->{run}, $of->{lines}), $of->{branches},
        $share->($of->{taken}, $of->{branches});
}

sub print_missing {
    my ($path, $lines) = @_;
    open my $in, '<', $path or die "coverage: $path: $!\n";
    my @text = <$in>;
    for my $number (sort { $a <=> $b } keys %$lines) {
        my $at = $lines->{$number};
        my @missing = grep { !$at->{branches}[$_] } 0 .. $#{ $at->{branches} };
        next if $at->{run} && !@missing;
        my $what =
            $at->{run} ? 'branch ' . join(',', @missing) . ' of ' . @{ $at->{branches} } : 'not run';
        my $text = $text[ $number - 1 ] // '';
        $text =~ s/^\s+|\s+$//g;
        print "$path:$number: $what: $text\n";
    }
}

my %sums;
printf "%-28s %8s %8s %9s %9s\n", 'file', 'lines', 'run', 'branches', 'taken';
for my $path (sort keys %files) {
    my %of = (lines => 0, run => 0, branches => 0, taken => 0);
    for my $at (values %{ $files{$path} }) {
        $of{lines}++;
        $of{run}++ if $at->{run};
        $of{branches} += @{ $at->{branches} };
        $of{taken} += grep { $_ } @{ $at->{branches} };
    }
    print_counts($path, \%of);
    for my $sum ($path =~ m{^(\w+)/}, 'both') {
        $sums{$sum}{$_} += $of{$_} for keys %of;
    }
}
die "coverage: no lines counted\n" unless %sums;
for my $sum (qw(core ext both)) {
    print_counts($sum, $sums{$sum}) if $sums{$sum};
}
if ($list) {
    print_missing($_, $files{$_}) for sort keys %files;
}
