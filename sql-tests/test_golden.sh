#!/bin/sh
# Stores that earlier versions made (sql-tests/golden): each version reads them, and
# writes to them.
#
#   sh sql-tests/test_golden.sh EXTENSION
#
# 0.1.db has a table `kv` in the database and a table `outside` in golden.litekv, with
# the rows of rows.txt: a compacted part, runs of its index, and a log behind it. Ends in
# `N passed, N failed`; without a shell that can load the extension it says so.
set -u

extension=${1:?usage: test_golden.sh EXTENSION}
here=$(dirname "$0")/golden
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-golden.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
passed=0
failed=0

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

skip() {
    echo "skipped: test_golden.sh: $1"
    passed=1
    finish
}

# What was built with gcc's sanitizers needs their runtime first in the process.
preload=
shell() { # file SQL
    ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$preload \
        sqlite3 -batch -cmd ".load $extension sqlite3_litekv_init" "$1" "$2" 2>&1
}

check() { # name expected got
    if [ "$2" = "$3" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok $1"
        echo "expected: $2"
        echo "got: $3"
    fi
}

command -v sqlite3 >/dev/null || skip "there is no sqlite3 shell"
if [ "$(shell :memory: 'SELECT litekv_version() IS NOT NULL')" != 1 ]; then
    preload=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)
    [ "$(shell :memory: 'SELECT litekv_version() IS NOT NULL')" = 1 ] ||
        skip "the sqlite3 shell cannot load $extension"
fi

cp -R "$here/." "$scratch" && chmod -R u+w "$scratch" || exit 1
rows=$(cat "$here/rows.txt")
for table in kv outside; do
    check "$table: what it holds" "$rows" "$(shell "$scratch/0.1.db" \
        "SELECT quote(sku), typeof(sku), quote(price), quote(about) FROM $table")"
    check "$table: that all of it is right" ok \
        "$(shell "$scratch/0.1.db" "SELECT litekv_verify('$table')")"
    check "$table: that it can be written" "now|ok" "$(shell "$scratch/0.1.db" \
        "INSERT INTO $table VALUES('later', 1, 'now'); DELETE FROM $table WHERE sku = 12;
         SELECT about, litekv_verify('$table') FROM $table WHERE sku = 'later'")"
done
finish
