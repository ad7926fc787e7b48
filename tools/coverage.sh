#!/bin/sh
# Runs the tests of a build made with --coverage and prints, for each source file of core
# and ext, the share of lines and of branches that they ran.
#
#   tools/coverage.sh BUILD
#
# LIST=1 in the environment also lists each line and branch that was not run. What counts
# is told in coverage.pl, which counts again without running anything:
#
#   tools/coverage.pl -l BUILD ext/plan.c
set -u

build=${1:?usage: tools/coverage.sh BUILD}
find "$build" -name '*.gcda' -delete
# Not optimised and counting: the short version of the random tests, as with sanitizers.
SAN=coverage tools/test.sh "$build"
status=$?
echo
tools/coverage.pl ${LIST:+-l} "$build" || status=1
exit "$status"
