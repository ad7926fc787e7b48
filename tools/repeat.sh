#!/bin/sh
# Runs all tests again and again, each time with another seed, until one fails: what
# fails one time in fifty is a bug as well, of the code or of the test.
#
#   tools/repeat.sh BUILD [N]
#
# N is 10 unless told. SEED=n is the first seed, the next ones follow; without, the time
# is. Everything else is as for tools/test.sh. What failed is printed, with the command
# that repeats it.
set -u

build=${1:?usage: tools/repeat.sh BUILD [N]}
times=${2:-10}
first=${SEED:-$(date +%s)}
output=$(mktemp "${TMPDIR:-/tmp}/litekv-repeat.XXXXXX") || exit 1
trap 'rm -f "$output"' EXIT
trap 'exit 130' INT TERM

done=0
while [ "$done" -lt "$times" ]; do
    seed=$((first + done))
    done=$((done + 1))
    SEED=$seed tools/test.sh "$build" >"$output" 2>&1
    status=$?
    echo "run $done of $times, SEED=$seed: $(tail -n 1 "$output")"
    if [ "$status" -ne 0 ]; then
        # Parts that passed say only that.
        grep -Ev '^== |^   .*: [0-9]+ passed, 0 failed$|^skipped: ' "$output"
        echo "to repeat it: make test SEED=$seed${SAN:+ SAN=$SAN}${LONG:+ LONG=$LONG}"
        exit 1
    fi
done
echo "$times runs without a failure"
