#!/bin/sh
# Breaks the code on purpose, one change at a time, and expects a test to fail.
#
#   tools/mutate.sh [-j N] [TEXT]      only changes of files whose name contains TEXT,
#                                      in N copies of the tree at a time
#
# tools/mutations.txt has a change a line:
#
#   file|exact old text|new text|test
#
# \| is a bar, \n a line end, \\ a backslash; the old text must stand in the file exactly
# once; lines that begin with # are comments. The test is the name of a unit test
# (test_log), of a file of SQL tests (savepoint.slt), `differential`, `replay`, or any
# shell command, run at the top of the copy. All work is done in a copy of the tree.
set -u

jobs=1
if [ "${1:-}" = -j ]; then
    jobs=${2:?mutate: -j needs a number}
    shift 2
fi
only=${1:-}
share=${MUTATE_SHARE:-0} # which of ...
shares=${MUTATE_SHARES:-1} # ... so many parts of the list this process is to try
list=tools/mutations.txt
if [ ! -e "$list" ]; then
    echo "mutate: there is no $list" >&2
    exit 1
fi

# Each part with a copy of its own; lines stay whole. What it counted goes to a file.
if [ "$jobs" -gt 1 ]; then
    results=$(mktemp "${TMPDIR:-/tmp}/litekv-mutate.XXXXXX") || exit 1
    trap 'rm -f "$results"' EXIT
    i=0
    while [ "$i" -lt "$jobs" ]; do
        MUTATE_SHARE=$i MUTATE_SHARES=$jobs "$0" "$only" 3>>"$results" &
        i=$((i + 1))
    done
    wait
    awk '{ good += $1; bad += $3 }
        END { print good + 0 " passed, " bad + 0 " failed"
              exit NR != jobs || bad > 0 || good == 0 }' jobs="$jobs" "$results"
    exit
fi

copy=$(mktemp -d "${TMPDIR:-/tmp}/litekv-mutate.XXXXXX") || exit 1
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM
tar -cf - --exclude=.git --exclude='./build*' . | tar -xf - -C "$copy" || exit 1
cd "$copy" || exit 1

run_test() { # test
    case $1 in
    test_*) timeout 300 "build/test/$1" ;;
    *.slt) timeout 300 build/run -e build/litekv.so "sql-tests/$1" ;;
    differential) timeout 600 build/differential -e build/litekv.so -n 20000 -s 1 ;;
    replay) ONLY=replay tools/test.sh build ;;
    *) timeout 600 sh -c "$1" ;;
    esac
}

# Only what the test needs: everything would take three times as long.
build() { # test
    case $1 in
    test_*) goal=build/test/$1 ;;
    *.slt) goal="build/litekv.so build/run" ;;
    differential) goal="build/litekv.so build/differential" ;;
    *) goal=programs ;;
    esac
    # shellcheck disable=SC2086 # goals are words
    make --no-print-directory -s -j2 $goal CFLAGS=-O1 >build.log 2>&1
}

# Prints nothing when the change was made.
change() { # file old new
    perl -e '
        my ($path, $old, $new) = @ARGV;
        open my $in, "<", $path or do { print "$path is not there"; exit };
        local $/;
        my $text = <$in>;
        my $count = () = $text =~ /\Q$old\E/g;
        if ($count != 1) { print "the old text stands in $path $count times"; exit }
        $text =~ s/\Q$old\E/$new/;
        open my $out, ">", $path or die;
        print $out $text;' "$1" "$2" "$3"
}

caught=0
survived=0
turn=0
known= # tests that passed on the unchanged tree
# Fields split by perl, and handed on one a line, with \n for line ends.
perl -ne '
    next if /^\s*(#|$)/;
    chomp;
    my @fields = map { s/\\\|/|/gr } split /(?<!\\)\|/;
    die "mutate: line $.: " . @fields . " fields instead of 4\n" if @fields != 4;
    print "$.\n", map { "$_\n" } @fields;' "$list" >fields || exit 1

while read -r number; do
    IFS= read -r file
    IFS= read -r old
    IFS= read -r new
    IFS= read -r test
    case $file in *"$only"*) ;; *) continue ;; esac
    # In pieces of the list, so that one copy seldom changes file and test.
    turn=$((turn + 1))
    [ $((turn / 10 % shares)) -eq "$share" ] || continue
    old=$(printf '%s.' "$old" | perl -pe 's/\\(.)/$1 eq "n" ? "\n" : $1/ge')
    new=$(printf '%s.' "$new" | perl -pe 's/\\(.)/$1 eq "n" ? "\n" : $1/ge')
    case "$known" in
    *"<$test>"*) ;;
    *)
        if ! build "$test"; then
            tail -n 20 build.log
            echo "mutate: the tree as it is does not build" >&2
            exit 1
        fi
        if ! run_test "$test" >test.log 2>&1 </dev/null; then
            tail -n 20 test.log
            echo "not ok line $number: $test fails without any change"
            survived=$((survived + 1))
            continue
        fi
        known="$known<$test>"
        ;;
    esac
    cp -p "$file" original
    problem=$(change "$file" "${old%.}" "${new%.}")
    if [ -z "$problem" ]; then
        if ! build "$test"; then
            problem="does not build"
        elif run_test "$test" >test.log 2>&1 </dev/null; then
            problem="survived $test"
        fi
    fi
    if [ -z "$problem" ]; then
        echo "ok line $number: $file: caught by $test"
        caught=$((caught + 1))
    else
        echo "not ok line $number: $file: $problem"
        survived=$((survived + 1))
    fi
    cp original "$file" # is newer than what was made of the change
done <fields

if [ "$shares" -gt 1 ]; then
    echo "$caught passed, $survived failed" >&3
    exit
fi
if [ "$caught" -eq 0 ] && [ "$survived" -eq 0 ]; then
    echo "mutate: no change to make" >&2
    exit 1
fi
echo "$caught passed, $survived failed"
[ "$survived" -eq 0 ]
