#!/bin/sh
# Runs benchmarks: BUILD/bench (the table of figures, against the ordinary table) and
# BUILD/bench-memindex (the index alone); or BUILD/bench-WHAT alone.
#
#   tools/bench.sh BUILD [WHAT]
#
# BENCH holds arguments for it (without WHAT: for BUILD/bench); without BENCH, those of a
# run of at most five minutes. bench/README.md tells of all of them.
set -eu

build=${1:?usage: tools/bench.sh BUILD [WHAT]}
what=${2:-}
ran=0

run() { # program argument...
    if [ -x "$build/$1" ]; then
        program=$build/$1
        shift
        "$program" "$@"
        ran=1
    fi
}

# $BENCH is words, here and below.
# shellcheck disable=SC2086
case $what in
"")
    run bench -e "$build/litekv.so" ${BENCH:-}
    run bench-memindex
    ;;
memindex)
    run bench-memindex ${BENCH:-}
    ;;
*)
    run "bench-$what" -e "$build/litekv.so" ${BENCH:-}
    ;;
esac
if [ "$ran" -eq 0 ]; then
    echo "bench: nothing to run in $build" >&2
    exit 1
fi
