#!/bin/sh
# Runs the libFuzzer programs of a directory.
#
#   tools/fuzz.sh DIR TARGET SECONDS SEED
#
# TARGET is the part of the name after fuzz_, or empty for all in turn. New inputs go to
# DIR/corpus/TARGET, a crash to DIR/crash-TARGET-...; the committed corpus is read and
# never written. A crash that was fixed is committed to fuzz/corpus/TARGET.
set -u

# The fuzzer's speed goes by memory: little is kept back of what was freed, and no new
# memory is filled.
fast=quarantine_size_mb=1:thread_local_quarantine_size_kb=64
fast=$fast:max_malloc_fill_size=0:allocator_release_to_os_interval_ms=-1
export ASAN_OPTIONS="${ASAN_OPTIONS:-$fast:malloc_context_size=5}"

dir=${1:?usage: tools/fuzz.sh DIR TARGET SECONDS SEED}
target=${2:-}
duration=${3:-60}
seed=${4:-}
ran=0
failed=0

for source in fuzz/fuzz_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    what=${name#fuzz_}
    [ -z "$target" ] || [ "$target" = "$what" ] || continue
    ran=$((ran + 1))
    mkdir -p "$dir/corpus/$what"
    set -- "$dir/corpus/$what"
    if [ -d "fuzz/corpus/$what" ]; then
        set -- "$@" "fuzz/corpus/$what"
    fi
    echo "== $name, $duration s"
    # An input that takes longer than 10 s is a fault.
    "$dir/$name" -max_total_time="$duration" -timeout=10 ${seed:+-seed="$seed"} \
        -artifact_prefix="$dir/crash-$what-" -print_final_stats=1 "$@" || {
        echo "not ok $name: see $dir/crash-$what-*"
        failed=$((failed + 1))
    }
done
if [ "$ran" -eq 0 ]; then
    echo "fuzz: there is no target \"$target\"; fuzz/fuzz_NAME.c is target NAME" >&2
    exit 1
fi
echo "$((ran - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
