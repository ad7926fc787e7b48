#!/bin/sh
# Proves that the runner of the .slt files sees what is wrong.
#
#   sql-tests/test_runner.sh RUNNER
#
# Each runner/*.slt says in its first line how many of its tests pass and fail, and in
# lines `# says: TEXT` what the runner prints about them, in that order. What concerns
# options, exit status and files is tested below. Ends in `N passed, N failed`.
set -u

runner=${1:?usage: test_runner.sh RUNNER}
case $runner in
*/*) runner=$(cd "$(dirname "$runner")" && pwd)/$(basename "$runner") ;;
esac
cd "$(dirname "$0")" || exit 1
# What the files skip on purpose must not count.
require_all=${REQUIRE_ALL:-}
unset REQUIRE_ALL
passed=0
failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-runner.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

run() { # arguments of the runner...
    rm -rf "$scratch/tmp"
    mkdir "$scratch/tmp"
    TMPDIR=$scratch/tmp "$runner" "$@" >"$scratch/out" 2>"$scratch/err" </dev/null
    status=$?
    sum=$(tail -n 1 "$scratch/out")
}

not_ok() { # name reason
    echo "not ok $1: $2"
    sed 's/^/    /' "$scratch/out" "$scratch/err" | tail -n 20
    failed=$((failed + 1))
}

# The sum is the one wanted, the exit status fits it, and no temporary file is left.
ends() { # name sum
    wanted_status=1
    case $2 in
    "0 passed, 0 failed") ;;
    *", 0 failed") wanted_status=0 ;;
    esac
    if [ "$sum" != "$2" ]; then
        not_ok "$1" "wanted '$2'"
    elif [ "$status" -ne "$wanted_status" ]; then
        not_ok "$1" "exit status $status"
    elif ! rmdir "$scratch/tmp"; then
        not_ok "$1" "left files behind"
    else
        return 0
    fi
    return 1
}

# The output has lines with each of the texts of `$scratch/texts`, in that order.
says() { # name
    awk 'FILENAME == ARGV[1] { text[++wanted] = $0; next }
        found < wanted && index($0, text[found + 1]) { found++ }
        END { if (found < wanted) { print text[found + 1]; exit 1 } }' \
        "$scratch/texts" "$scratch/out" >"$scratch/missing" && return 0
    not_ok "$1" "does not say '$(cat "$scratch/missing")'"
    return 1
}

check() { # name sum text...
    name=$1
    wanted=$2
    shift 2
    : >"$scratch/texts"
    for text in "$@"; do
        printf '%s\n' "$text" >>"$scratch/texts"
    done
    if ends "$name" "$wanted" && says "$name"; then
        echo "ok $name"
        passed=$((passed + 1))
    fi
}

files() {
    for file in runner/*.slt; do
        name=$(basename "$file" .slt)
        wanted=$(sed -n '1s/^# sum: //p' "$file")
        run "$file"
        sed -n 's/^# says: //p' "$file" >"$scratch/texts"
        if ends "$name" "$wanted" && says "$name"; then
            echo "ok $name"
            passed=$((passed + 1))
        fi
    done
}

line_ends() {
    for name in language words wrong_value; do
        sed 's/$/\r/' "runner/$name.slt" >"$scratch/$name.slt"
        run -s "$scratch/$name.slt"
        check "$name with CRLF" "$(sed -n '1s/^# sum: //p' "runner/$name.slt")"
    done
    printf 'query I\nSELECT 1\n----\n2' >"$scratch/no-end.slt"
    run "$scratch/no-end.slt"
    check "last line without an end" "0 passed, 1 failed" "no-end.slt:1: wrong result"
}

unreadable_files() {
    run "$scratch/absent.slt"
    check "absent file" "0 passed, 1 failed" "No such file"
    : >"$scratch/nothing.slt"
    run "$scratch/nothing.slt"
    check "file of no bytes" "0 passed, 1 failed" "no test ran"
    printf 'statement ok\nSELECT 1\n\n\000\n' >"$scratch/binary.slt"
    run "$scratch/binary.slt"
    check "NUL byte" "0 passed, 1 failed" "holds a NUL byte"
    # A good file does not make up for them.
    run runner/language.slt "$scratch/absent.slt" "$scratch/nothing.slt"
    check "absent file beside a good one" "26 passed, 2 failed"
    run
    check "no file at all" "0 passed, 0 failed"
}

directories() {
    mkdir -p "$scratch/dir/below" "$scratch/no-tests"
    printf 'statement ok\nSELECT 1\n' >"$scratch/dir/one.slt"
    printf 'statement ok\nSELECT 1\n' >"$scratch/dir/two.test"
    printf 'statement ok\nSELEC 1\n' >"$scratch/dir/three.txt"
    printf 'statement ok\nSELEC 1\n' >"$scratch/dir/below/four.slt"
    run "$scratch/dir"
    check "directory" "2 passed, 0 failed" "one.slt: 1 passed" "two.test: 1 passed"
    run "$scratch/no-tests"
    check "directory without tests" "0 passed, 1 failed" "no .slt or .test file"
}

options() {
    run -s runner/wrong_value.slt
    if [ "$(wc -l <"$scratch/out")" -eq 1 ]; then
        check "-s" "1 passed, 7 failed"
    else
        not_ok "-s" "prints more than the sum"
    fi
    run -v runner/wrong_value.slt
    check "-v" "1 passed, 7 failed" "wrong_value.slt:7: passed" "wrong result"
    run -e "$scratch/absent.so" runner/language.slt
    check "absent extension" "0 passed, 1 failed" "absent.so: No such file"
    echo "no library" >"$scratch/text.so"
    run -e "$scratch/text.so" runner/language.slt
    check "extension that is none" "0 passed, 1 failed" "cannot load"
    REQUIRE_ALL=1
    export REQUIRE_ALL
    run runner/too_old.slt
    check "REQUIRE_ALL=1 and require" "1 passed, 1 failed" "skipped: "
    run runner/left_early.slt
    check "REQUIRE_ALL=1 and halt" "0 passed, 1 failed" "skipped: "
    unset REQUIRE_ALL
}

query_one() { # SQL: a record that expects 1
    printf 'query I\n%s\n----\n1\n\n' "$1"
}

# Every connection gets the extension, and one that cannot be closed is seen.
extension() {
    compiler=${CC:-cc}
    if ! command -v "${compiler%% *}" >"$scratch/out" 2>"$scratch/err"; then
        echo "skipped: runner/extension.c: no compiler"
        [ "$require_all" = 1 ] && not_ok "extension" "skipped"
        return
    fi
    # CC may be a compiler with options.
    # shellcheck disable=SC2086
    if ! $compiler -shared -fPIC runner/extension.c -o "$scratch/extension.so" \
        >"$scratch/out" 2>"$scratch/err"; then
        not_ok "extension" "does not compile"
        return
    fi
    {
        query_one "SELECT loaded()"
        for word in reopen "connection two" crash "reopen readonly" "reopen memory"; do
            echo "$word"
            query_one "SELECT loaded()"
        done
    } >"$scratch/loaded.slt"
    run -e "$scratch/extension.so" "$scratch/loaded.slt"
    check "extension in every connection" "6 passed, 0 failed"
    run "$scratch/loaded.slt"
    check "no extension unless told" "0 passed, 6 failed" "no such function: loaded"
    query_one "SELECT forget() + 1" >"$scratch/forget.slt"
    leaks=${ASAN_OPTIONS:-}
    export ASAN_OPTIONS="$leaks:detect_leaks=0"
    run -e "$scratch/extension.so" "$scratch/forget.slt"
    export ASAN_OPTIONS="$leaks"
    check "statement left behind" "1 passed, 1 failed" 'cannot close connection "main"'
}

# The one liberty of public files, which are named .test, and how little it allows.
public_files() {
    cp runner/query_fails.slt "$scratch/query_fails.test"
    run "$scratch/query_fails.test"
    check "failing query in a public file" "1 passed, 9 failed" \
        "no such table: absent" "integer overflow"
}

files
line_ends
unreadable_files
directories
options
extension
public_files

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
