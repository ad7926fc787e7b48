#!/usr/bin/perl
# Makes one C file of those named on the command line, own headers put in where they
# are first included.
#
# In one file the statics of all the others meet, and so do those of the C library:
# `static int read(...)` is right in a file that includes no <unistd.h>, and wrong here.
# So every file-scope name of a .c file that is not already lkv_... or sqlite3_... gets
# the name of its file in front. Names after `.` or `->`, and those between the braces
# of a struct or union, are members and stay.
use strict;
use warnings;

my @sources = @ARGV or die "usage: amalgamate.pl FILE.c...\n";
my %headers;    # base name => path
for my $dir (qw(core ext)) {
    $headers{ base($_) } = $_ for glob "$dir/*.h";
}
my %seen;       # headers that are in already

sub base {
    my ($path) = @_;
    $path =~ s{.*/}{};
    return $path;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<', $path or die "amalgamate: $path: $!\n";
    local $/;
    return scalar <$in>;
}

# Comments, strings and characters blanked out, so that only code is looked at.
sub code_only {
    my ($text) = @_;
    $text =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')}
              {my $s = $1; $s =~ s/[^\n]/ /g; $s}gse;
    return $text;
}

# The names that a .c file defines for itself alone, and its macros.
sub own_names {
    my ($text) = @_;
    my $code = code_only($text);
    my (%names, %macros);
    $macros{$1} = 1 while $code =~ /^[ \t]*#[ \t]*define[ \t]+(\w+)/mg;
    $code =~ s/^[ \t]*#(?:[^\n]*\\\n)*[^\n]*//mg;
    while ($code =~ /^static\s+([^;{=]*?)(\w+)\s*(?:\[[^;={]*)?(?!\(\s*\*)([(;=])/mg) {
        $names{$2} = 1;
    }
    # static const struct {...} name and pointers to functions
    $names{$1} = 1 while $code =~ /^static[^;{=()]*\(\*\s*(?:const\s+)?(\w+)/mg;
    $names{$1} = 1 while $code =~ /^(?:static\s+(?:const\s+)?|typedef\s+)?(?:struct|union|enum)\s+(\w+)\s*\{/mg;
    $names{$1} = 1 while $code =~ /^\}\s*(\w+)\s*(?:\[[^\]]*\]\s*)*[;=]/mg;
    $names{$1} = 1 while $code =~ /^typedef\b[^;{]*?\(\*\s*(\w+)\)/mg;
    $names{$1} = 1 while $code =~ /^typedef\b[^;{(]*?(\w+)(?:\[[^\]]*\])*;/mg;
    while ($code =~ /^(?:typedef\s+|static\s+)?enum\b[^{;]*\{([^}]*)\}/mg) {
        for my $constant (split /,/, $1) {
            $names{$1} = 1 if $constant =~ /^\s*(\w+)/;
        }
    }
    delete @names{qw(return if while for switch do else sizeof case goto)};
    delete $names{$_} for grep { /^(?:LKV|lkv|sqlite3|SQLITE|_)_/ } keys %names;
    return (\%names, \%macros);
}

# The text with each own name replaced where it is not a member's.
sub rename_own {
    my ($text, $names, $prefix) = @_;
    my $out = '';
    my @braces;         # for each open brace: whether it is a struct's
    my $last = '';      # the last token that is not blank
    my $aggregate = 0;  # a struct or union keyword came, and no ; ( ) = since
    while ($text =~ /\G(\/\*.*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_]\w*|\d[\w.]*|->|\s+|.)/gs) {
        my $token = $1;
        my $after = pos $text;
        if ($token =~ /^(?:\s|\/\*|\/\/)/) {
            $out .= $token;
            next;
        }
        if ($token =~ /^[A-Za-z_]/ && $names->{$token}) {
            my $member = $last eq '.' || $last eq '->';
            # A member's own name is followed by one of these; a type's is not.
            my ($next) = $text =~ /\G\s*(.)/gcs;
            pos($text) = $after;
            my $declared = @braces && $braces[-1] && $next =~ /[;,\[):(]/ &&
                $last !~ /^(?:struct|union|enum|\[|:)$/;
            $out .= $member || $declared ? $token : "$prefix$token";
        } else {
            $out .= $token;
        }
        if ($token eq 'struct' || $token eq 'union') { $aggregate = 1; }
        elsif ($token =~ /^[;()=,]$/) { $aggregate = 0; }
        elsif ($token eq '{') { push @braces, $aggregate; $aggregate = 0; }
        elsif ($token eq '}') { pop @braces; }
        $last = $token;
    }
    return $out;
}

# Puts own headers in place of their first include, drops the later ones.
sub resolve {
    my ($text) = @_;
    my $out = '';
    for my $line (split /^/, $text) {
        if ($line =~ /^[ \t]*#[ \t]*include[ \t]*"([^"]+)"/ && $headers{ base($1) }) {
            my $name = base($1);
            next if $seen{$name}++;
            my $path = $headers{$name};
            $out .= "/* ---- $path ---- */\n" . resolve(slurp($path));
        } else {
            $out .= $line;
        }
    }
    return $out;
}

my ($version) = slurp('core/litekv.h') =~ /#define LKV_VERSION "([^"]+)"/;
print <<"TOP";
/*
 * litekv.c - LiteKV $version, the whole extension in one file, made by tools/amalgamate.pl.
 *
 *   gcc -shared -fPIC -O2 -fvisibility=hidden litekv.c -o litekv.so -lz
 *
 * With -DLKV_HAVE_LIBDEFLATE and -ldeflate checksums are faster. See LICENSE.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#ifndef _TIME_BITS
#define _TIME_BITS 64
#endif
TOP

for my $path (@sources) {
    my $text = slurp($path);
    my ($names, $macros) = own_names($text);
    (my $prefix = base($path)) =~ s/\W.*//;
    $prefix = "lkv_in_${prefix}_";
    # Headers first: their text is nobody's own.
    my $head = '';
    $text =~ s{^([ \t]*#[ \t]*include[ \t]*"([^"]+)".*\n)}{
        $headers{ base($2) } ? do { $head .= resolve($1); '' } : $1 }gme;
    print $head;
    print "/* ---- $path ---- */\n", rename_own($text, $names, $prefix);
    my @mine = grep { !/^(?:SQLITE|_GNU_SOURCE|_FILE_OFFSET_BITS|_TIME_BITS|XXH)/ } sort keys %$macros;
    print map { "#undef $_\n" } @mine;
}
