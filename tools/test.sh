#!/bin/sh
# Runs every test below a build directory and adds them up.
#
#   tools/test.sh BUILD
#
# Each part is a program whose last line of output is `N passed, N failed`. A part that
# crashes, runs too long, ends without that line or ran nothing counts as one failure.
# Environment:
#   SAN=...          says that the build has sanitizers: fewer random statements
#   SEED=n           seed of the random tests
#   LONG=1           the long version
#   REQUIRE_ALL=1    a skipped test is a failed test
#   SLT_CORPUS=dir   runs the .test and .slt files below this directory too, as they are
#                    and with litekv tables in the place of theirs
#   ONLY=replay      nothing but the replay of the fuzz corpora
#   JOBS=n           parts that run side by side; else as many as there are processors
set -u

build=${1:?usage: tools/test.sh BUILD}
extension=$build/litekv.so
only=${ONLY:-}
long=${LONG:-}
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}
[ -n "$long" ] && export LONG
export REQUIRE_ALL="${REQUIRE_ALL:-}"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:detect_stack_use_after_return=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"

statements=200000
patience=600
if [ -n "${SAN:-}" ]; then
    statements=40000
fi
if [ -n "$long" ]; then
    statements=2000000
    patience=14400
fi
seed_options=
if [ -n "${SEED:-}" ]; then
    seed_options="-s $SEED"
    export SEED
else
    unset SEED
fi

passed=0
failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-test.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# As many parts run side by side as there are tokens in this pipe.
mkfifo "$scratch/tokens" || exit 1
exec 3<>"$scratch/tokens"
started=0
shown=0
while [ "$started" -lt "$jobs" ]; do
    echo >&3
    started=$((started + 1))
done
started=0

part() { # name command...
    read -r _ <&3
    started=$((started + 1))
    dir=$scratch/$started
    mkdir "$dir"
    echo "$1" >"$dir/name"
    shift
    {
        timeout -k 10 "$patience" "$@" >"$dir/out" 2>"$dir/err" </dev/null 3>&-
        echo $? >"$dir/status.new"
        mv "$dir/status.new" "$dir/status"
        echo >&3
    } &
    report
}

# Shows the parts that are done, in the order in which they were started.
report() {
    while [ -e "$scratch/$((shown + 1))/status" ]; do
        shown=$((shown + 1))
        judge "$scratch/$shown"
        rm -rf "${scratch:?}/$shown"
    done
}

finish() {
    wait
    report
}

show() { # directory of a part
    sed 's/^/    /' "$1/out" | tail -n 60
    sed 's/^/    /' "$1/err" | tail -n 60
}

judge() { # directory of a part
    name=$(cat "$1/name")
    status=$(cat "$1/status")
    echo "== $name"
    line=$(tail -n 1 "$1/out" | tr -d '\r')
    skips=$(grep -c '^skipped: ' "$1/out")
    grep '^skipped: ' "$1/out"
    if ! printf '%s\n' "$line" | grep -Eqx '[0-9]+ passed, [0-9]+ failed'; then
        show "$1"
        echo "not ok $name: no result, exit status $status"
        failed=$((failed + 1))
        return
    fi
    good=${line%% *}
    bad=${line#*, }
    bad=${bad%% *}
    if [ "$bad" -eq 0 ]; then
        if [ "$status" -ne 0 ]; then
            reason="says that nothing failed, but its exit status is $status"
        elif [ "$good" -eq 0 ]; then
            reason="ran nothing"
        elif [ "$skips" -gt 0 ] && [ "$REQUIRE_ALL" = 1 ]; then
            reason="skipped something"
        else
            reason=
        fi
        if [ -n "$reason" ]; then
            show "$1"
            echo "not ok $name: $reason"
            bad=1
        fi
    else
        show "$1"
    fi
    echo "   $name: $good passed, $bad failed"
    passed=$((passed + good))
    failed=$((failed + bad))
}

unit_tests() {
    for source in core/test/test_*.c ext/test/test_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        part "$name" "$build/test/$name"
    done
}

sql_tests() {
    [ -e sql-tests/run.c ] || return
    if [ -e sql-tests/test_runner.sh ]; then
        part "runner's own tests" sh sql-tests/test_runner.sh "$build/run"
    fi
    if [ -e sql-tests/test_shell.sh ]; then
        part "sqlite3 shell" sh sql-tests/test_shell.sh "$extension"
    fi
    if [ -e sql-tests/test_golden.sh ]; then
        part "golden stores" sh sql-tests/test_golden.sh "$extension"
    fi
    set -- sql-tests/*.slt
    if [ -e "$1" ]; then
        part "sql-tests" "$build/run" -e "$extension" "$@"
    fi
    if [ -e sql-tests/test_on_litekv.sh ]; then
        part "rewriting public files" sh sql-tests/test_on_litekv.sh "$build/run" \
            "$extension"
    fi
    if [ -n "${SLT_CORPUS:-}" ]; then
        set -f
        IFS=$(printf "\n\b")
        # Split at line ends only.
        # shellcheck disable=SC2046
        set -- $(find "$SLT_CORPUS" -type f \( -name "*.test" -o -name "*.slt" \) | sort)
        unset IFS
        set +f
        part "public corpus" "$build/run" -e "$extension" "$@"
        # And with its tables made litekv tables, where that can be.
        mkdir "$scratch/corpus"
        perl sql-tests/on_litekv.pl "$scratch/corpus" "$@" >"$scratch/rewritten" || {
            echo "not ok public corpus on litekv: not all files are rewritten"
            failed=$((failed + 1))
        }
        sed 's/^/   /' "$scratch/rewritten"
        part "public corpus on litekv" "$build/run" -e "$extension" "$scratch/corpus"
    fi
}

differential_test() {
    [ -e sql-tests/differential.c ] || return
    # $seed_options is empty or two words.
    # shellcheck disable=SC2086
    part "differential, $statements statements" "$build/differential" \
        -e "$extension" -n "$statements" $seed_options
}

replay() {
    for source in fuzz/fuzz_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        part "replay of $name" "$build/replay/$name" "fuzz/corpus/${name#fuzz_}"
    done
}

# The longest first, so that no core is idle at the end.
if [ "$only" != replay ]; then
    differential_test
    unit_tests
    sql_tests
fi
replay
finish

if [ $((passed + failed)) -eq 0 ]; then
    echo "not ok: no test ran"
    failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
