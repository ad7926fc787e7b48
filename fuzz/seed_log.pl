#!/usr/bin/perl
# Writes seeds for fuzz_log into a directory: programs in the language of fuzz_log.c that
# reach its parts, and one encoded thing for each decoder.
#
#   perl fuzz/seed_log.pl fuzz/corpus/log
#
# fuzz/corpus/log holds these (program_*, decode_*), what the fuzzer once found a fault
# with (fixed_*), and what it added to their coverage, by
#
#   build/fuzz/fuzz_log -merge=1 -use_counters=0 fuzz/corpus/log build/fuzz/corpus/log
#
# A step that is given another number in fuzz_log.c changes what all of them mean: write
# the seeds again, throw away what the fuzzer added, and let it run anew.
use strict;
use warnings;

my $dir = shift or die "usage: seed_log.pl DIR\n";

sub key   { chr(128 + $_[0]) }               # one of 64 short keys
sub long  { chr(224 + $_[0]) . chr($_[1]) }  # of 180 + 2 * n bytes
sub raw   { chr(length $_[0]) . $_[0] }      # fewer than 10 bytes; a value fewer than 20
sub fill  { chr($_[0] + 64) }                # a value of n bytes, 64 to 175
sub big   { chr(239 + $_[0]) }               # a value of n * 60 bytes

# Steps that make the bytes of a store.
sub put      { my ($key, $value, $tag) = @_; chr(14) . chr(2 | ($tag // 0) << 6) . $key . $value }
sub moved    { my ($key, $value, $tag) = @_; chr(14) . chr(6 | ($tag // 0) << 6) . $key . $value }
sub tombstone { chr(14) . chr(10) . $_[0] . chr(0) }
sub any      { my ($type, $k, $v, $body) = @_; chr(14) . chr(0) . pack("CVV", $type, $k, $v) . $body }
sub bytes    { chr(14) . chr(1) . raw($_[0]) }
sub commit   { my ($lie, $by) = @_; chr(0) . chr($lie // 0) . ($lie ? pack("V", $by) : "") }
sub roll     { my ($lie, $by) = @_; chr(1) . chr($lie // 0) . (($lie // 0) & 63 ? pack("V", $by) : "") }
sub flip     { my ($segment, $offset, $xor) = @_; chr(2) . chr(0) . pack("CnC", $segment, $offset, $xor) }
sub cut      { my ($segment, $size) = @_; chr(3) . chr(0) . pack("Cn", $segment, $size) }
sub lie_root { chr(4) . chr(0) . pack("CV", @_) }
sub lie_end  { chr(5) . chr(0) . pack("CV", @_) }
sub restart  { chr(6) . chr($_[0]) }
sub failing  { chr(7) . chr($_[0]) }
sub install  { chr(8) . chr(0) }
sub follow   { chr(10) . chr(0) }

# A transaction on the store that was opened, and its steps.
sub change   { chr(9) . chr(0) . join("", @_) . chr(4) . chr(0) . chr(1) }
sub other    { chr(9) . chr(1) . join("", @_) . chr(4) . chr(0) . chr(1) }  # by the other handle
sub undone   { chr(9) . chr(0) . join("", @_) . chr(4) . chr(0) . chr(0) }
sub set      { my ($key, $value, $tag) = @_; chr(5) . chr(($tag // 0) << 2) . $key . $value }
sub del      { chr(5) . chr(1) . $_[0] }
sub mark     { chr(0) . chr(0) }
sub back_to  { chr(0) . chr(3 | $_[0] << 2) }
sub release  { chr(0) . chr(1 | $_[0] << 2) }
sub no_memory { chr(1 | $_[0] << 3) }
sub walk     { chr(2) . join("", @_) }
sub check    { chr(2 | 64) }
sub prepare  { chr(3) }
sub compact  { chr(3 | 64) . chr($_[0] >> 3 & 252) } # writes about so many bytes, below 2,048
sub rebuild  { chr(3 | 64) . chr(2) }
sub share    { chr(3 | 64) . chr(1 | $_[0] >> 1) }   # of dead bytes, in thousandths, below 512

# Spills at 16 << n bytes, segments of 128 << n; a run for each 64 << n, and the blocks.
sub sizes { my ($spill, $segment, $flush, $block) = @_; chr($spill | $segment << 3) . chr($flush | $block << 3) }
my $small = sizes(0, 0, 0, 1); # blocks of 64
my $large = sizes(7, 7, 7, 0); # of 512
my $runs = sizes(7, 7, 0, 1);
my $merged = sizes(3, 3, 1, 3); # of 16
my $wide = sizes(4, 5, 2, 2);   # of 4,096
my $some = put(key(3), raw("three")) . put(key(1), fill(90), 1) . put(raw(""), raw("")) . commit();

# Programs that change a store, by its sizes.
sub changing {
    my ($sizes) = @_;
    return (
        written   => $sizes . $some . install() . change(map { set(key($_), fill(64 + $_)) } 1 .. 20)
            . follow() . change(map { del(key($_)) } 5 .. 15) . follow(),
        in_turn   => $sizes . $some . install() . change(del(key(3)), set(key(5), fill(70)))
            . other(set(key(3), raw("again")), del(key(5)), del(key(1)))
            . other(set(key(9), raw("9")), del(key(3))) . follow() . other(set(key(1), raw("1"))),
        ordered   => $sizes . install()
            . change((map { set(raw(sprintf "%03d", $_), raw("v")) } 1 .. 60), check()),
        backwards => $sizes . install()
            . change((map { set(raw(sprintf "%03d", 99 - $_), raw("v")) } 1 .. 60), check()),
        long_keys => $sizes . install()
            . change((map { set(long($_ % 32, $_ * 7 % 256), raw("v")) } 1 .. 60), check())
            . change(map { del(long($_ % 32, $_ * 7 % 256)) } 1 .. 60),
        marks     => $sizes . $some . install() . change(set(key(1), raw("a")), mark(),
            set(key(2), fill(80)), mark(), del(key(3)), set(key(4), fill(99)), back_to(1), check(),
            set(key(5), raw("b")), back_to(0), set(key(6), raw("c")), mark(), release(1), check()),
        undone    => $sizes . $some . install() . undone(set(key(1), fill(99)), prepare(),
            set(key(2), fill(99)), del(key(3))) . change(set(key(2), raw("z"))) . follow(),
        prepared  => $sizes . $some . install() . change(mark(), set(key(1), fill(99)), prepare(),
            set(key(2), fill(99)), prepare(), back_to(0), set(key(8), raw("q"))) . follow(),
        compacted => $sizes . $some . install() . change((map { set(key($_), fill(64 + $_)) } 1 .. 20),
            compact(2032), check()) . follow() . change((map { del(key($_)) } 5 .. 15), compact(2032))
            . other(set(key(7), raw("7")), compact(2032)) . follow(),
        sliced    => $sizes . $some . install() . change(map { set(key($_), fill(64 + $_)) } 1 .. 20)
            . join("", map { change(compact(64), set(key(3 * $_), raw("s")), del(key(2 * $_))) } 1 .. 8)
            . join("", map { other(compact(128), set(key($_), raw("t"))) } 1 .. 8) . follow(),
        taken_back => $sizes . $some . install() . change((map { set(key($_), fill(64 + $_)) } 1 .. 20),
            mark(), compact(64), set(key(30), raw("x")), mark(), compact(2032), check(), back_to(1),
            check(), compact(64), back_to(0), check(), compact(256), check())
            . undone(compact(64), del(key(2)), compact(2032)) . change(compact(2032)) . follow(),
        rebuilt   => $sizes . $some . install() . change((map { set(key($_), fill(64 + $_)) } 1 .. 20),
            rebuild(), check(), del(key(4))) . change(compact(256), set(key(9), raw("r")), mark(), rebuild(),
            check(), back_to(0), check(), compact(256)) . other(rebuild()) . follow()
            . change(compact(2032)) . follow(),
        shared    => $sizes . $some . install() . change(share(100))
            . join("", map { change(set(key($_ % 5), fill(64 + $_)), set(key($_), raw("u"))) } 1 .. 24) . follow(),
        walked    => $sizes . $some . install()
            . change(walk(map { substr(set(key($_), raw("w")), 1) } 1 .. 12), check()),
    );
}

my %program = (
    empty     => $large . install(),
    rows      => $large . $some . tombstone(key(3)) . moved(long(10, 1), raw("m"), 2)
        . put(long(9, 2), big(2)) . commit() . install(),
    rolled    => $large . $some . roll() . put(key(7), raw("x")) . roll() . commit() . install(),
    goes_on   => $large . $some . install() . put(key(9), raw("new")) . commit()
        . roll() . tombstone(key(1)) . commit() . install(),
    replaced  => $large . $some . install() . restart(2) . put(key(3), raw("other"))
        . commit() . install(),
    shorter   => $large . $some . put(key(5), raw("5")) . commit() . install() . restart(1)
        . $some . install(),
    (map { ("no_memory_$_" => $small . $some . install() . change(no_memory($_),
        set(long(12, 1), fill(99)), no_memory($_), del(key(3)), no_memory($_), mark(),
        no_memory($_), set(key(40), big(9)), no_memory($_), prepare()) . follow()) } 1 .. 4),
    (map { ("opened_without_$_" => $large . $some . failing($_) . install() . put(key(6), raw("x"))
        . commit() . failing($_) . install()) } 1 .. 5),
    (map { ("commit_lie_$_" => $large . $some . put(key(2), raw("2")) . commit($_, 1)
        . put(key(4), raw("4")) . commit() . install()) } 1 .. 7),
    (map { ("header_lie_$_" => $large . $some . roll($_, 257) . put(key(2), raw("2")) . commit()
        . install()) } 1 .. 8, 129 .. 131),
    (map { ("first_header_$_" => $large . roll(64 | $_, 5) . $some . install()) } 1 .. 6),
    (map { ("root_lie_$_" => $large . $some . roll() . put(key(2), raw("2")) . commit()
        . lie_root($_, 0x00010023) . install()) } 0 .. 5, 7, 12, 15),
    (map { ("tail_lie_$_" => $large . $some . roll() . put(key(2), raw("2")) . commit()
        . lie_root(6 | 8, $_ << 24 | 1) . install()) } 0 .. 5),
    (map { ("rest_lie_$_" => $large . $some . roll() . put(key(2), raw("2")) . commit()
        . lie_root(6 | 16, $_ << 24 | 2) . install()) } 0 .. 5),
    (map { ("tail_at_$_" => $large . ("", $some, tombstone(key(1)) . commit() . roll())[$_]
        . lie_root(6, 6 << 24) . $some . install() . change(set(key(2), raw("z")), del(key(3)))) } 0 .. 2),
    begun     => $large . tombstone(key(1)) . commit() . roll() . lie_root(6, 6 << 24)
        . lie_root(6 | 16, 3 << 24) . install() . change(set(key(2), raw("z"))),
    (map { ("end_lie_$_" => $large . $some . lie_end($_, 0x0101) . install()) } 0 .. 8),
    (map { ("flip_$_" => $large . $some . flip(0, $_, 1) . install()) } 3, 29, 66, 70, 80, 200),
    cut       => $large . $some . cut(0, 90) . install(),
    no_commit => $large . $some . put(key(2), raw("2")) . lie_end(6, 0) . install(),
    no_commit_rolled => $large . $some . put(key(3), raw("2")) . roll() . install(),
    empty_twice => $large . roll() . roll() . $some . install(),
    last_number => $small . lie_root(0, 0x3fffffff) . roll(64 | 1 | 128, 0x3ffffffe) . $some . install(),
    (map { ("type_$_" => $large . $some . any($_, 1, 1, "ab") . commit() . install()) }
        0, 4, 7, 0x21, 0x22, 0x43, 0x81),
    lengths   => $large . $some . any(1, 0xffffffff, 0xffffffff, "a" x 64) . commit() . install(),
    beyond    => $large . $some . any(1, 0x7ffffff0, 0, "a" x 64) . commit() . install(),
    tail      => $large . $some . bytes("\0" x 19) . install(),
);

my %sizes = (small => $small, large => $large, runs => $runs, merged => $merged, wide => $wide);
for my $size (sort keys %sizes) {
    my %changing = changing($sizes{$size});
    $program{"${_}_$size"} = $changing{$_} for keys %changing;
}

my %decoded = (
    put       => pack("VCVV", 0, 1 | 2 << 3, 3, 5) . "keyvalue",
    moved     => pack("VCVVa3VVVV", 0, 0x21, 3, 17, "key", 1, 0, 2, 0) . "v",
    tombstone => pack("VCVV", 0, 2, 3, 0) . "key",
    commit    => pack("VCVV", 0, 3, 0, 56) . "\1" x 56,
    segment   => "LKVseg1\n" . "i" x 16 . pack("V", 1) . "\0" x 4 . "\2" x 24 . "\0" x 8,
    root      => "LKVroot1" . "i" x 16 . pack("VVVVVV", 1, 0, 4096, 2, 4, 1)
        . pack("V*", 1, 1, 1, 0x10000002, 0x20000005, 0, 0, 0, 36, 0, 0, 1, 1, 0)
        . pack("V*", 2, 64, (0) x 6) . "\5" x 32 . pack("V*", 40, 0) . "\6" x 8 . "\0" x 24
        . pack("V*", 1, 100, 0, 0, 2, 0, 36, 0)                 # segments
        . (pack("V*", 0x10000001, 200, 0x20000001, 2, 1, 0) . "\7" x 24) x 2
        . (pack("V*", 0x20000002, 2, 1, 0) . "\1" x 32) x 2    # a run, a merge
        . pack("V*", 0x20000003, 9) . "meta" . "\0" x 4,
    seal      => pack("VCVV", 0, 5, 0, 40) . "\1" x 40,
    end       => "i" x 16 . "\3" x 48 . "\0" x 8,
);

sub write_file {
    my ($name, $data) = @_;
    open(my $out, ">:raw", "$dir/$name") or die "$dir/$name: $!\n";
    print $out $data;
    close($out) or die "$dir/$name: $!\n";
}

write_file("program_$_", chr(1) . $program{$_}) for sort keys %program;
write_file("decode_$_", chr(0) . $decoded{$_}) for sort keys %decoded;
