#!/bin/sh
# Runs a benchmark: BUILD/bench (the table of figures, against the ordinary table), or
# BUILD/bench-WHAT.
#
#   tools/bench.sh BUILD [WHAT]
#
# BENCH holds arguments for it; without, it runs for at most five minutes.
# bench/README.md tells of all of them.
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
