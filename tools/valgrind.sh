#!/bin/sh
# Runs the unit tests and the .slt files under valgrind's memcheck: a read of what nobody
# wrote, which AddressSanitizer does not see, and memory that nothing leads to any more.
#
#   tools/valgrind.sh BUILD [NAME...]
#
# A NAME is a unit test or an .slt file; without, all of them but those listed below.
# Two at once; JOBS=n says otherwise. LONG=1 leaves none out. Ends in `N passed, N
# failed`: programs and files, not tests.
set -u

build=${1:?usage: tools/valgrind.sh BUILD [NAME...]}
shift

# Memcheck takes about forty times as long. These are random, or fail every call in turn,
# and would take it an hour; the sanitizers run them.
slow='
test_functions
test_interrupt
test_lies
test_memindex
test_memory
test_model
test_posix_crash
test_posix_fails
test_posix_kill
test_posix_many
test_posix_power
test_posix_stranger
test_shadow
test_spill
'
# SQLite compares integers with reals as long doubles; valgrind has them in 64 bits, not
# in 80, so that results near 2^63 are wrong. test_posix_dies and test_posix_room lower the
# limit of open files, which valgrind refuses; test_posix_dies and test_posix have children
# that end with memory that only a register, or a pointer into its middle, leads to;
# test_kill_db starts /proc/self/exe, which is valgrind.
wrong='
test_key
test_kill_db
test_posix
test_posix_dies
test_posix_room
test_range
sql-tests/numbers.slt
'

scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-valgrind.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# What is still reachable is no leak: a child of a test ends in the middle, and SQLite
# keeps its list of automatic extensions.
memcheck='valgrind --quiet --error-exitcode=99 --leak-check=full
    --show-leak-kinds=definite,indirect,possible
    --errors-for-leak-kinds=definite,indirect,possible --track-origins=yes --num-callers=20'

if [ -n "${LONG:-}" ]; then
    unset LONG # not of the tests themselves
    slow=
fi

names() {
    for name in core/test/test_*.c ext/test/test_*.c sql-tests/*.slt; do
        case $name in
        *.c) name=$(basename "$name" .c) ;;
        esac
        case $slow$wrong in
        *"
$name
"*) ;;
        *) echo "$name" ;;
        esac
    done
}

run_all() {
    # The inner shell expands these.
    # shellcheck disable=SC2016
    xargs -n 1 -P "${JOBS:-2}" sh -c '
        memcheck=$1 build=$2 out=$0/$(basename "$3")
        name=$3
        case $name in
        *.slt) set -- "$build/run" -e "$build/litekv.so" "$name" ;;
        *) set -- "$build/test/$name" ;;
        esac
        # It is words.
        # shellcheck disable=SC2086
        $memcheck "$@" >"$out" 2>&1 </dev/null
        status=$?
        # A child of a test has its own status; what memcheck says of it begins like this.
        if [ "$status" -eq 0 ] && ! grep -q "^==[0-9]*== " "$out"; then
            echo "ok $name"
        else
            echo "not ok $name: exit status $status"
            sed "s/^/    /" "$out" | tail -n 100
        fi' "$scratch" "$memcheck" "$build"
}

if [ $# -eq 0 ]; then
    # The words are names.
    # shellcheck disable=SC2046
    set -- $(names)
fi
printf '%s\n' "$@" | run_all | tee "$scratch/results"
passed=$(grep -c '^ok ' "$scratch/results")
failed=$(grep -c '^not ok ' "$scratch/results")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -eq $# ]
