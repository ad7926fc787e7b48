#!/usr/bin/perl
# Writes seeds for fuzz_index into a directory: blocks, whole runs of them, and programs
# in the language of fuzz_index.c that reach its parts.
#
#   perl fuzz/seed_index.pl fuzz/corpus/index
#
# fuzz/corpus/index holds these (block_*, run_*, program_*), what the fuzzer once found a
# fault with (fixed_*), and what it added to their coverage; see seed_log.pl.
use strict;
use warnings;

my $dir = shift or die "usage: seed_index.pl DIR\n";

# Blocks, without their checksums: the target makes those.
sub varint { my ($n) = @_; my $out = ""; while ($n >= 128) { $out .= chr($n & 127 | 128); $n >>= 7 } $out . chr($n) }

sub common {
    my ($x, $y) = @_;
    my $n = 0;
    $n++ while $n < length $x && $n < length $y && substr($x, $n, 1) eq substr($y, $n, 1);
    return $n;
}

our $every = 16; # entries, of which one shares nothing

# Entries are [key, numbers]; a filter that knows every key has `lines` lines.
sub block {
    my ($kind, $unit, $before, $lines, @entries) = @_;
    my ($body, $table, $last, $count) = ("", "", "", 0);
    for (@entries) {
        my ($key, @numbers) = @$_;
        my $same = $count % $every ? common($last, $key) : 0;
        $table .= pack("V", 28 + length $body) unless $count++ % $every;
        $body .= varint($same) . varint(length($key) - $same) . substr($key, $same) . join("", map { varint($_) } @numbers);
        $last = $key;
    }
    my $used = 28 + length($body . $table) + 64 * $lines;
    my $blocks = int(($used + $unit - 1) / $unit);
    my $size = $blocks * $unit;
    return pack("VCCvVVVVV", 0, $kind, 0, length($table) / 4, $count, $blocks, 28 + length $body,
        $lines ? $size - 64 * $lines : 0, $before) . $body . $table . "\0" x ($size - $used) . "\xff" x (64 * $lines);
}
sub leaf   { my ($unit, $before, @entries) = @_; block(1, $unit, $before, 0, @entries) }
sub branch { my ($unit, $before, $lines, @entries) = @_; block(2, $unit, $before, $lines, @entries) }
sub top    { my ($unit, $before, @entries) = @_; block(3, $unit, $before, 0, @entries) }
# A put or a tombstone of segment 1.
sub entry  { my ($key, $tombstone) = @_; [$key, 1 << 3 | ($tombstone ? 4 : 0), 64 + length $key, 13 + length $key] }

my %block = (
    leaf      => leaf(256, 0, map { entry(sprintf("key%02d", $_), $_ == 3) } 1 .. 12),
    leaf_many => leaf(512, 7, map { entry(sprintf("%03d", $_)) } 1 .. 40),
    leaf_long => leaf(64, 0, entry("a" x 100), entry("a" x 100 . "b")),
    leaf_empty_key => leaf(128, 0, entry(""), entry("\0"), entry("a")),
    branch    => branch(256, 0, 1, ["", 0], ["key1", 1], ["key10", 2], ["m", 3]),
    top       => top(64, 0, ["", 3], ["m", 7]),
);

# A run, finished or only paused; `groups` are lists of lists of keys.
sub run {
    my ($paused, $unit, $lines, @groups) = @_;
    my ($bytes, $leaf, $branch, $last) = ("", 0, 0, "");
    my @tops;
    for my $group (@groups) {
        my @children;
        for my $keys (@$group) {
            my $at = length($bytes) / $unit;
            my $separator = $leaf ? substr($keys->[0], 0, common($last, $keys->[0]) + 1) : "";
            push @children, [$separator, $at];
            $bytes .= leaf($unit, $leaf, map { entry($_) } @$keys);
            $leaf = $at + 1;
            $last = $keys->[-1];
        }
        my $at = length($bytes) / $unit;
        push @tops, [$children[0][0], $at];
        $bytes .= branch($unit, $branch, $lines, @children);
        $branch = $at + 1;
    }
    return ($branch - 1, $bytes) if $paused || @tops == 1;
    return (length($bytes) / $unit, $bytes . top($unit, 0, @tops));
}
sub walk { my ($how, $top, $bytes) = @_; chr($how) . chr($top) . $bytes } # bit 2: goes on with it

my @one = ([["a"]]);
my @two = ([["a", "ab"], ["b"]], [["c"], ["d", "da"]]);
my @many = map { my $g = $_; [map { my $l = $_; [map { "$g$l$_" } 1 .. 3] } 1 .. 2] } 1 .. 4;
my %run = (
    one  => walk(0, run(0, 32, 0, @one)),
    two  => walk(1, run(0, 64, 1, @two)),
    many => walk(2, run(0, 128, 1, @many)),
    sharing => walk(3, do { local $every = 99; run(0, 256, 0, [[map { sprintf "k%02d", $_ } 1 .. 20]]) }),
    paused_one  => walk(4, run(1, 32, 0, @one)),
    paused_two  => walk(5, run(1, 64, 1, @two)),
    paused_many => walk(6, run(1, 128, 1, @many)),
);

# Programs.
sub key   { chr(128 + $_[0]) }               # one of 64 short keys
sub long  { chr(224 + $_[0]) . chr($_[1]) }  # of 180 + 2 * n bytes
sub raw   { chr(length $_[0]) . $_[0] }      # fewer than 10 bytes; a value fewer than 20
sub any   { chr($_[0] + 64) }                # a value of n bytes, 64 to 175
sub sizes { my ($flush, $block, $segment) = @_; chr($flush | $block << 3 | $segment << 5) }
sub set   { chr(0) . $_[0] . $_[1] }
sub del   { chr(1) . $_[0] }
sub fill  { my ($budget, @changes) = @_; chr(7 | @changes << 3) . chr($budget) . join("", @changes) }
sub harm  { my ($sealed, $object, $offset, $xor) = @_; chr(0) . chr(1 | $sealed << 7) . chr(2) . chr($object) . chr(1) . pack("vC", $offset, $xor) }
sub cut   { my ($object, $size) = @_; chr(0) . chr(1) . chr(0) . chr($object) . pack("v", $size) }
sub move  { my ($object, $to, $from) = @_; chr(0) . chr(129) . chr(1) . chr($object) . chr($to) . chr($from) }
sub root  { my ($offset, $xor) = @_; chr(0) . chr(0) . chr(1) . pack("vC", $offset, $xor) }
sub look    { chr(1) }
sub rebuild { chr(2) }
sub round   { chr(3) }
sub give    { chr(4) }
sub forge   { my ($sealed, $offset, $xor) = @_; chr(5) . chr($sealed) . chr(2) . chr(1) . pack("vC", $offset, $xor) }
sub take    { chr(6) . chr($_[0]) }
sub anyway  { chr(7) . chr($_[0]) }

my $tiny = sizes(0, 0, 0);  # runs of 64 bytes of log, blocks of 64, segments of 512
my $some = sizes(2, 1, 2);  # of 256, 512, 2,048
my $wide = sizes(4, 2, 4);  # of 1,024, 4,096, 8,192
my $short = sizes(1, 3, 1); # of 128, 32, 1,024
my %sizes = (tiny => $tiny, some => $some, wide => $wide, short => $short);

my $rows = fill(0, map { set(key($_), any(64 + $_)) } 1 .. 20);
my $gone = fill(0, map { del(key($_)) } 5 .. 12);
my $base = fill(255, map { set(key($_ * 2), any(70)) } 1 .. 10);
my $part = fill(4, map { set(key($_ * 3), any(80)) } 1 .. 8);

my %program;
for my $size (sort keys %sizes) {
    my %made = (
        filled    => $rows . $gone . look() . round(),
        based     => $rows . $base . $gone . look() . rebuild() . round(),
        halfway   => $rows . $base . $part . $gone . look() . round() . rebuild() . $part,
        keys      => fill(64, map { set(long($_, $_), raw("v")) } 1 .. 12) . look() . round(),
        index_hit => $rows . $base . $part . (map { harm(0, 200 + $_, 30 * $_, 1) } 1 .. 5)[2] . look() . rebuild(),
        index_lie => $rows . $base . $part . harm(1, 250, 40, 3) . harm(1, 253, 33, 3) . look() . rebuild(),
        log_hit   => $rows . $base . harm(0, 0, 70, 1) . look() . anyway(3),
        log_lie   => $rows . $base . harm(1, 0, 70, 1) . look() . anyway(7),
        moved     => $rows . move(250, 0, 1) . move(251, 1, 0) . look() . rebuild(),
        cut       => $rows . $base . cut(250, 90) . look() . rebuild(),
        root_lie  => $rows . $base . $part . root(210 + ord(substr $sizes{$size}, 0, 1), 1) . look() . anyway(7),
        taken     => $rows . give() . $gone . take(1) . $rows . take(0) . look(),
        stale     => $rows . give() . $base . take(1) . look(),
        forged    => $rows . $base . give() . forge(1, 300, 1) . take(1) . look(),
        forged_in => $rows . $base . give() . forge(2, 400, 1) . take(1) . look(),
        broken    => $rows . give() . forge(0, 250, 1) . take(1) . look(),
    );
    $program{"${_}_$size"} = $sizes{$size} . $made{$_} for keys %made;
}

sub write_file {
    my ($name, $data) = @_;
    open(my $out, ">:raw", "$dir/$name") or die "$dir/$name: $!\n";
    print $out $data;
    close($out) or die "$dir/$name: $!\n";
}

write_file("block_$_", chr(0) . $block{$_}) for sort keys %block;
write_file("run_$_", chr(1) . $run{$_}) for sort keys %run;
write_file("program_$_", chr(2) . $program{$_}) for sort keys %program;
