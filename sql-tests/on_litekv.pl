#!/usr/bin/perl
# Rewrites public sqllogictest files so that their tables are litekv tables.
#
#   on_litekv.pl DIR FILE...
#
# Writes each FILE that can be rewritten to DIR, under its whole path with `-` for `/`,
# and prints a line for each: how many tables it has, or why it cannot be rewritten. The
# last line is `N rewritten, N not`; the exit status is 0 unless a file cannot be read
# or written.
#
# A litekv table has a key without NULLs and duplicates, and no constraints; a public
# file has tables without a key. So `CREATE TABLE t(a INTEGER, b TEXT)` becomes
#
#   t_litekv   a litekv table with a column before the others: litekv_key, an integer
#   t          a view of the other columns, so that SELECT * gives what it gave
#   t_insert   its INSTEAD OF INSERT trigger: the key is one more than the greatest.
#              For a column that is UNIQUE it looks for the value first
#
# UPDATE and DELETE of t become those of t_litekv. A trigger could not do them: the view
# has not the key, so that of rows with the same values it cannot tell which is meant.
# When the first column is the PRIMARY KEY, t is a litekv table of its own, and so is
# REPLACE litekv's. A virtual table cannot have an index: CREATE INDEX, DROP INDEX and
# REINDEX are left out and counted.
#
# What would not mean the same any more, like constraints or a rowid, is the reason not
# to rewrite a file; records that are not for SQLite stay as they are.
use strict;
use warnings;

my ($dir, @files) = @ARGV;
die "usage: on_litekv.pl DIR FILE...\n" if !defined $dir;

my %tables;      # lower-case name => { name, form => 'view' or 'key', unique => 0 or 1 }
my $made_tables;
my $left_out;    # statements

# Ends the work on a file: it stays as it is.
sub refuse {
    die { reason => $_[0] };
}

# A statement as a list of words, strings, signs; and what is between them.
sub tokens {
    my ($sql) = @_;
    return $sql =~ /('(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*
                     |\/\*.*?\*\/|[A-Za-z_]\w*|[0-9]\w*|\s+|.)/gsx;
}

sub is_space {
    return $_[0] =~ /^(?:\s|--|\/\*)/;
}

sub statements {
    my ($sql) = @_;
    my @all = ('');
    for my $token (tokens($sql)) {
        $all[-1] .= $token;
        push @all, '' if $token eq ';';
    }
    return grep { /[^\s;]/ } @all;
}

# Splits at the commas that are in no parentheses.
sub at_commas {
    my @parts = ([]);
    my $depth = 0;
    for my $token (@_) {
        $depth++ if $token eq '(';
        $depth-- if $token eq ')';
        if ($token eq ',' && $depth == 0) {
            push @parts, [];
        } else {
            push @{ $parts[-1] }, $token;
        }
    }
    return @parts;
}

# Name, type and constraint (PRIMARY KEY, UNIQUE or nothing) of a column.
sub column {
    my ($name, @rest) = @_;
    refuse("a table with a quoted column, or a constraint of its own") if $name !~ /^\w+$/
        || $name =~ /^(?:primary|unique|check|foreign|constraint)$/i;
    my @type;
    while (@rest && $rest[0] !~
        /^(?:primary|unique|check|not|null|default|collate|references|constraint|generated|as)$/i)
    {
        push @type, shift @rest;
    }
    my $constraint = uc join ' ', @rest;
    refuse("a column with $constraint") if $constraint !~ /^(?:PRIMARY KEY|UNIQUE|)$/;
    # Without blanks: a type with parentheses has none in front of them.
    my $type = join ' ', @type;
    $type =~ s/ ?([(),]) ?/$1/g;
    return { name => $name, type => $type, constraint => $constraint };
}

sub create_table {
    my @words = grep { !is_space($_) && $_ ne ';' } @_;
    my ($name, $open) = @words[2, 3];
    refuse("a table with a schema, IF NOT EXISTS or a quoted name")
        if $name !~ /^[A-Za-z_]\w*$/ || $open ne '(';
    refuse("CREATE TABLE with something behind its columns") if pop(@words) ne ')';
    my @columns = map { column(@$_) } at_commas(@words[ 4 .. $#words ]);
    my @keys = grep { $columns[$_]{constraint} eq 'PRIMARY KEY' } 0 .. $#columns;
    my @unique = grep { $_->{constraint} eq 'UNIQUE' } @columns;
    my $declared = join ', ', map { "$_->{name} $_->{type}" } @columns;
    my $table = { name => $name, form => @keys ? 'key' : 'view', unique => scalar @unique };
    $tables{ lc $name } = $table;
    $made_tables++;
    if (@keys) {
        refuse("a PRIMARY KEY that is not the first column") if "@keys" ne '0';
        refuse("a PRIMARY KEY and UNIQUE") if @unique;
        return "CREATE VIRTUAL TABLE $name USING litekv($declared)";
    }
    my $checks = join '', map {
        "  SELECT RAISE(ABORT, 'UNIQUE constraint failed: $name.$_->{name}')\n"
            . "  WHERE EXISTS (SELECT 1 FROM ${name}_litekv WHERE $_->{name} = NEW.$_->{name});\n"
    } @unique;
    my $names = join ', ', map { $_->{name} } @columns;
    my $new = join ', ', map { "NEW.$_->{name}" } @columns;
    return "CREATE VIRTUAL TABLE ${name}_litekv USING litekv(litekv_key INTEGER, $declared);\n"
        . "CREATE VIEW $name AS SELECT $names FROM ${name}_litekv;\n"
        . "CREATE TRIGGER ${name}_insert INSTEAD OF INSERT ON $name BEGIN\n$checks"
        . "  INSERT INTO ${name}_litekv VALUES(\n"
        . "    (SELECT coalesce(max(litekv_key), 0) + 1 FROM ${name}_litekv), $new);\nEND";
}

# UPDATE or DELETE: the same of the litekv table.
sub change {
    my ($verb, $at, @tokens) = @_;
    my $table = $tables{ lc $tokens[$at] };
    return join '', @tokens if !$table || $table->{form} eq 'key';
    refuse("UPDATE of a table with UNIQUE") if $table->{unique} && $verb eq 'UPDATE';
    $tokens[$at] = "$table->{name}_litekv";
    return join '', @tokens;
}

sub drop_table {
    my ($at, @tokens) = @_;
    my $table = delete $tables{ lc $tokens[$at] };
    return join '', @tokens if !$table || $table->{form} eq 'key';
    return "DROP VIEW $table->{name};\nDROP TABLE $table->{name}_litekv";
}

# What a statement becomes; undef when it is left out.
sub statement {
    my ($sql) = @_;
    my @tokens = tokens($sql);
    my @at = grep { !is_space($tokens[$_]) } 0 .. $#tokens;    # of what counts
    my $start = uc join ' ', @tokens[ @at[ 0 .. ($#at < 5 ? $#at : 5) ] ];
    my $words = ' ' . uc(join ' ', grep { !/^['"]/ } @tokens[@at]) . ' ';

    return create_table(@tokens) if $start =~ /^CREATE TABLE/;
    refuse("it says \L$1") if $words =~
        / (ROWID|_ROWID_|OID|SQLITE_MASTER|SQLITE_SCHEMA|CHANGES|LAST_INSERT_ROWID|PRAGMA|EXPLAIN) /;
    refuse("it says \L$1") if $words =~
        / (ALTER TABLE|CREATE (?:TEMP |TEMPORARY )?TRIGGER|CREATE VIRTUAL|ON CONFLICT|INDEXED BY|UNIQUE INDEX) /;
    if ($start =~ /^(?:CREATE INDEX|DROP INDEX|REINDEX)/) {
        $left_out++;
        return;
    }
    refuse("a temporary table") if $start =~ /^CREATE TEMP(?:ORARY)? TABLE/;
    return change('UPDATE', $at[1], @tokens) if $start =~ /^UPDATE \w+ SET/;
    return change('DELETE', $at[2], @tokens) if $start =~ /^DELETE FROM \w+(?: WHERE\b| ;|$)/;
    return drop_table($at[2], @tokens) if $start =~ /^DROP TABLE \w+(?: ;)?$/;
    refuse("an UPDATE, DELETE or DROP TABLE with more to it") if $start =~
        /^(?:UPDATE|DELETE|DROP TABLE)/;
    if ($start =~ /^(?:INSERT OR|REPLACE)/ && $words =~ / INTO (\w+) /) {
        my $table = $tables{ lc $1 };
        refuse("INSERT OR ... into a table with UNIQUE") if $table && $table->{unique};
    }
    return $sql;
}

# Of a record the SQL anew, and whether any is left.
sub record_sql {
    my @made = grep { defined } map { statement($_) } statements($_[0]);
    s/\s*;?\s*\z// for @made;
    return @made ? join(";\n", @made) . "\n" : undef;
}

# Conditions before a record and its first line; then SQL up to an empty line or `----`.
sub rewrite {
    my (@lines) = @_;
    my ($made, $before, $skipped) = ('', '', 0);
    while (defined(my $line = shift @lines)) {
        $before .= $line;
        if ($line =~ /^(skipif|onlyif)\s+(\w+)/) {
            $skipped = 1 if ($1 eq 'skipif') == (lc $2 eq 'sqlite');
            next;
        }
        next if $line =~ /^#/;
        my $sql = '';
        if ($line =~ /^(?:statement|query)\b/) {
            $sql .= shift @lines while @lines && $lines[0] !~ /^(?:----)?\s*$/;
            my $new = $skipped ? $sql : record_sql($sql);
            $made .= $before . $new if defined $new;
        } else {
            $made .= $before;
            return join '', $made, @lines if !$skipped && $line =~ /^halt/;
        }
        # The values of a query end in an empty line, as the record does.
        $made .= shift @lines while @lines && $sql ne '' && $lines[0] =~ /\S/;
        $before = '';
        $skipped = 0 if $line =~ /\S/;
    }
    return $made;
}

sub spew {
    my ($path, $text) = @_;
    open my $out, '>:raw', $path or die "on_litekv: $path: $!\n";
    print $out $text;
    close $out or die "on_litekv: $path: $!\n";
}

my ($rewritten, $not) = (0, 0);
for my $path (@files) {
    open my $in, '<:raw', $path or die "on_litekv: $path: $!\n";
    my @lines = map { s/\r?\n?\z/\n/r } <$in>;
    close $in;
    %tables = ();
    ($made_tables, $left_out) = (0, 0);
    my $made = eval { rewrite(@lines) };
    if (!defined $made) {
        die $@ if !ref $@;
        $not++;
        print "not rewritten: $path: $@->{reason}\n";
    } elsif ($made_tables == 0) {
        $not++;
        print "not rewritten: $path: it makes no table\n";
    } else {
        $rewritten++;
        (my $name = $path) =~ s{^/|(?<=/)/}{}g;
        $name =~ s{/}{-}g;
        spew("$dir/$name", $made);
        print "rewritten: $path: $made_tables tables, $left_out statements on indexes left out\n";
    }
}
print "$rewritten rewritten, $not not\n";
