#!/bin/sh
# Runs the benchmarks: BUILD/bench-memindex (the index alone) and BUILD/bench (against
# the ordinary table).
#
#   tools/bench.sh BUILD
#
# BENCH holds arguments for BUILD/bench; without it, those of a run of about two minutes.
set -eu

build=${1:?usage: tools/bench.sh BUILD}
ran=0
if [ -x "$build/bench" ]; then
    # $BENCH is words.
    # shellcheck disable=SC2086
    "$build/bench" -e "$build/litekv.so" ${BENCH:-}
    ran=1
fi
if [ -x "$build/bench-memindex" ]; then
    "$build/bench-memindex"
    ran=1
fi
if [ "$ran" -eq 0 ]; then
    echo "bench: nothing to run in $build" >&2
    exit 1
fi
