#!/bin/sh
# Runs the tests of a build made with --coverage and prints, for each source file of core
# and ext, the share of lines and of branches (both ways taken) that they ran.
#
#   tools/coverage.sh BUILD
#
# core is what unit tests and SQL tests ran together; ext what the SQL tests ran in
# litekv.so (its unit tests run objects compiled another way, and are not counted).
set -u

build=${1:?usage: tools/coverage.sh BUILD}
find "$build" -name '*.gcda' -delete
# Not optimised and counting: the short version of the random tests, as with sanitizers.
SAN=coverage tools/test.sh "$build"
status=$?

printf '\n%-28s %8s %8s %9s %9s\n' file lines run branches taken
for source in core/*.c ext/*.c; do
    [ -e "$source" ] || continue
    gcov -n -b -o "$build/obj/${source%.c}.o" "$source" 2>/dev/null |
        awk -v source="$source" '
            /^File / { mine = index($0, "\x27" source "\x27") > 0 }
            function share(  part) { part = $0; sub(/^[^:]*:/, "", part); return part }
            mine && /^Lines executed/ { lines = share() }
            mine && /^Taken at least once/ { branches = share() }
            END {
                split(lines, l, "% of "); split(branches, b, "% of ")
                printf "%-28s %8d %7.1f%% %9d %8.1f%%\n", source, l[2], l[1], b[2], b[1]
            }'
done | awk '
    { print; lines += $2; run += $2 * $3 / 100; branches += $4; taken += $4 * $5 / 100 }
    END {
        if (lines == 0) { print "no lines counted"; exit 1 }
        printf "%-28s %8d %7.1f%% %9d %8.1f%%\n", "all", lines, 100 * run / lines,
            branches, branches ? 100 * taken / branches : 100
    }' || status=1
exit "$status"
