#!/bin/sh
# Proves that on_litekv.pl makes of a public file one that tests litekv, and says no to
# what it cannot rewrite.
#
#   sql-tests/test_on_litekv.sh RUNNER EXTENSION
#
# Ends in `N passed, N failed`.
set -u

runner=${1:?usage: test_on_litekv.sh RUNNER EXTENSION}
extension=${2:?usage: test_on_litekv.sh RUNNER EXTENSION}
here=$(dirname "$0")
passed=0
failed=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-on.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

check() { # name wanted got
    if [ "$2" = "$3" ]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "not ok $1: wanted '$2', got '$3'"
        sed 's/^/    /' "$scratch/out" | tail -n 20
        failed=$((failed + 1))
    fi
}

rewrite() { # file: the line about it; what it makes of it is made.test
    rm -rf "$scratch/new" "$scratch/made.test"
    mkdir "$scratch/new"
    perl "$here/on_litekv.pl" "$scratch/new" "$1" >"$scratch/out" 2>&1
    for made in "$scratch"/new/*; do
        [ ! -e "$made" ] || mv "$made" "$scratch/made.test"
    done
    sed -n "1s|$1: ||p" "$scratch/out"
}

run() { # arguments of the runner...: its sum
    "$runner" "$@" >"$scratch/out" 2>&1 </dev/null
    tail -n 1 "$scratch/out"
}

tables() {
    sample=$here/on_litekv/tables.test
    check "as it stands" "34 passed, 0 failed" "$(run "$sample")"
    check "rewriting" "rewritten: 4 tables, 2 statements on indexes left out" \
        "$(rewrite "$sample")"
    check "on litekv" "33 passed, 0 failed" "$(run -e "$extension" "$scratch/made.test")"
    # Without litekv next to nothing can pass, or it was not what was tested.
    check "without litekv" "2 passed, 31 failed" "$(run "$scratch/made.test")"
    check "no such module" 4 "$(grep -c 'no such module: litekv' "$scratch/out")"
    sed 's/$/\r/' "$sample" >"$scratch/crlf.test"
    rewrite "$scratch/crlf.test" >"$scratch/line"
    check "CRLF" "33 passed, 0 failed" "$(run -e "$extension" "$scratch/made.test")"
}

# What was wrong is still seen afterwards, and behind `halt` nothing is touched.
wrong_values() {
    printf '%s\n' 'statement ok' 'CREATE TABLE t(a INTEGER)' '' 'query I' \
        'SELECT count(*) FROM t' ---- 1 '' halt '' 'statement ok' 'CREATE INDEX i ON t(a)' \
        >"$scratch/wrong.test"
    check "wrong value, rewriting" "rewritten: 1 tables, 0 statements on indexes left out" \
        "$(rewrite "$scratch/wrong.test")"
    check "wrong value" "1 passed, 1 failed" "$(run -e "$extension" "$scratch/made.test")"
    check "behind halt" "CREATE INDEX i ON t(a)" "$(tail -n 1 "$scratch/made.test")"
}

no() { # reason SQL...
    reason=$1
    shift
    {
        printf 'statement ok\nCREATE TABLE t(a INTEGER, b TEXT UNIQUE)\n\n'
        printf 'statement ok\n%s\n\n' "$@"
    } >"$scratch/no.test"
    line=$(rewrite "$scratch/no.test")
    [ ! -e "$scratch/made.test" ] || line="$line, and makes a file"
    check "$*" "not rewritten: $reason" "$line"
}

refused() {
    no "a column with NOT NULL" "CREATE TABLE u(a INTEGER NOT NULL)"
    no "a column with DEFAULT 1" "CREATE TABLE u(a INTEGER DEFAULT 1)"
    no "a column with PRIMARY KEY AUTOINCREMENT" \
        "CREATE TABLE u(a INTEGER PRIMARY KEY AUTOINCREMENT)"
    no "a table with a quoted column, or a constraint of its own" \
        "CREATE TABLE u(a INTEGER, CHECK (a > 1))"
    no "a PRIMARY KEY that is not the first column" "CREATE TABLE u(a, b PRIMARY KEY)"
    no "a PRIMARY KEY and UNIQUE" "CREATE TABLE u(a PRIMARY KEY, b UNIQUE)"
    no "CREATE TABLE with something behind its columns" \
        "CREATE TABLE u(a PRIMARY KEY) WITHOUT ROWID"
    no "a table with a schema, IF NOT EXISTS or a quoted name" "CREATE TABLE main.u(a)"
    no "a table with a schema, IF NOT EXISTS or a quoted name" "CREATE TABLE u AS SELECT 1"
    no "a temporary table" "CREATE TEMP TABLE u(a)"
    no "it says rowid" "SELECT rowid FROM t"
    no "it says unique index" "CREATE UNIQUE INDEX i ON t(a)"
    no "it says on conflict" "INSERT INTO t VALUES(1, 2) ON CONFLICT DO NOTHING"
    no "UPDATE of a table with UNIQUE" "UPDATE t SET a = 1"
    no "INSERT OR ... into a table with UNIQUE" "INSERT OR IGNORE INTO t VALUES(1, 2)"
    no "INSERT OR ... into a table with UNIQUE" "REPLACE INTO t VALUES(1, 2)"
    no "an UPDATE, DELETE or DROP TABLE with more to it" "UPDATE OR IGNORE t SET a = 1"
    no "an UPDATE, DELETE or DROP TABLE with more to it" "DELETE FROM main.t"
    # Only what SQLite would run is a reason.
    printf '%s\n' 'statement ok' 'CREATE TABLE t(a INTEGER)' '' 'onlyif mysql' \
        'statement ok' 'ALTER TABLE t ADD b' '' 'skipif sqlite' 'statement ok' \
        'UPDATE t SET rowid = 1' >"$scratch/other.test"
    check "for other engines" "rewritten: 1 tables, 0 statements on indexes left out" \
        "$(rewrite "$scratch/other.test")"
    printf 'query I\nSELECT 1\n----\n1\n' >"$scratch/none.test"
    check "no table" "not rewritten: it makes no table" "$(rewrite "$scratch/none.test")"
}

tables
wrong_values
refused

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
