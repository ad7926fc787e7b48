#!/bin/sh
# The sqlite3 shell with litekv loaded: .dump and its restore, .backup and .restore,
# .import, .schema. What the shell prints as SQL must make an equal table.
#
#   sh sql-tests/test_shell.sh EXTENSION
#
# Ends in `N passed, N failed`. Without a shell, or with one that cannot load what was
# built (sanitizers), it says so and counts one passed.
set -u

extension=${1:?usage: test_shell.sh EXTENSION}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-shell.XXXXXX") || exit 1
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
    echo "skipped: test_shell.sh: $1"
    passed=1
    finish
}

# What was built with gcc's sanitizers needs their runtime first in the process.
preload=
shell() { # file: SQL from standard input
    ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD=$preload \
        sqlite3 -batch -cmd ".load $extension sqlite3_litekv_init" "$1" 2>&1
}

loads() {
    [ "$(echo 'SELECT litekv_version() IS NOT NULL;' | shell :memory:)" = 1 ]
}

same() { # name: compares $scratch/expected and $scratch/got
    if cmp -s "$scratch/expected" "$scratch/got"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "not ok $1"
        diff "$scratch/expected" "$scratch/got" | head -n 20
    fi
}

command -v sqlite3 >/dev/null || skip "there is no sqlite3 shell"
if ! loads; then
    preload=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)
    loads || skip "the sqlite3 shell cannot load $extension"
fi

content="SELECT quote(k), typeof(k), quote(v), typeof(v), quote(w) FROM \"k'v\";
SELECT quote(key), quote(value) FROM plain; SELECT * FROM o ORDER BY 1;"

shell "$scratch/a.db" <<'SQL'
CREATE TABLE o(a PRIMARY KEY, b);
INSERT INTO o VALUES(1, 'ordinary'), (2, NULL);
CREATE VIRTUAL TABLE "k'v" USING litekv(k, "v", w TEXT);
INSERT INTO "k'v" VALUES(1, 'it''s', 5), (1.5, NULL, ''), ('1', x'00ff', 'a' || char(10) || 'b'),
  (x'', 1e300, NULL), ('ž"', -0.1, 'ů'), (9223372036854775807, '', 'x');
DELETE FROM "k'v" WHERE k = 1.5;
CREATE VIRTUAL TABLE plain USING litekv;
WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 300)
INSERT INTO plain SELECT printf('key-%04d', i), zeroblob(i) FROM n;
CREATE TRIGGER put AFTER INSERT ON o BEGIN INSERT INTO plain VALUES(new.a, new.b); END;
CREATE VIEW seen AS SELECT count(*) AS n FROM plain;
SQL
echo "$content" | shell "$scratch/a.db" >"$scratch/expected"

# All 300 rows of one table, five of the other, two of the third; one has a line end.
echo 308 >"$scratch/number"
mv "$scratch/expected" "$scratch/kept"
wc -l <"$scratch/kept" | tr -d ' ' >"$scratch/got"
mv "$scratch/number" "$scratch/expected"
same "the rows to begin with"

# .dump carries the table and its shadow tables; the restored one is equal and can be
# written.
echo .dump | shell "$scratch/a.db" >"$scratch/dump.sql"
shell "$scratch/b.db" <"$scratch/dump.sql" >"$scratch/messages"
echo "$content" | shell "$scratch/b.db" >"$scratch/got"
cp "$scratch/kept" "$scratch/expected"
same "a dump that is read back"

echo '.dump' | shell "$scratch/b.db" >"$scratch/got"
cp "$scratch/dump.sql" "$scratch/expected"
same "the dump of what was read back"

: >"$scratch/expected"
cp "$scratch/messages" "$scratch/got"
same "reading the dump says nothing"

echo 1,1,302,ok >"$scratch/expected"
shell "$scratch/b.db" >"$scratch/got" <<'SQL'
.mode csv
.separator , "\n"
INSERT INTO o VALUES(3, 'three'), (4, 'four');
SELECT (SELECT count(*) FROM plain WHERE key = 3), (SELECT value = 'four' FROM plain WHERE key = 4),
  (SELECT n FROM seen), (SELECT * FROM pragma_integrity_check);
SQL
same "writing to what was read back"

# Without the extension the file can be dumped too: no data is hidden in the process.
if sqlite3 -batch "$scratch/a.db" .dump >"$scratch/plain.sql" 2>"$scratch/messages"; then
    rm -f "$scratch/c.db"
    shell "$scratch/c.db" <"$scratch/plain.sql" >/dev/null
    cp "$scratch/kept" "$scratch/expected"
    echo "$content" | shell "$scratch/c.db" >"$scratch/got"
    same "a dump by a shell that does not know litekv"
fi

# .backup, and .restore over an open database that had other rows.
echo ".backup '$scratch/d.db'" | shell "$scratch/a.db"
echo "$content" | shell "$scratch/d.db" >"$scratch/got"
cp "$scratch/kept" "$scratch/expected"
same ".backup"

shell "$scratch/e.db" >"$scratch/got" <<SQL
CREATE VIRTUAL TABLE plain USING litekv;
INSERT INTO plain VALUES('other', 1);
SELECT count(*) FROM plain;
.restore '$scratch/d.db'
$content
INSERT INTO plain VALUES('after', 1);
DELETE FROM plain WHERE key = 'after';
SQL
{
    echo 1
    cat "$scratch/kept"
} >"$scratch/expected"
same ".restore under an open table"

# .import, as people bring data in.
printf 'b,2\na,1\n"c,d",3\n' >"$scratch/rows.csv"
printf 'a|1\nb|2\nc,d|3\n' >"$scratch/expected"
shell :memory: >"$scratch/got" <<SQL
CREATE VIRTUAL TABLE kv USING litekv;
.import --csv '$scratch/rows.csv' kv
SELECT * FROM kv;
SQL
same ".import"

# .schema and .tables: the declaration as it was written.
echo "CREATE VIRTUAL TABLE \"k'v\" USING litekv(k, \"v\", w TEXT)" >"$scratch/expected"
echo ".schema \"k'v\"" | shell "$scratch/a.db" | sed -n 's/;$//; s|/\*.*||; /VIRTUAL/p' |
    sed 's/ *$//' >"$scratch/got"
same ".schema"

# The whole database once more by SQL.
echo "VACUUM INTO '$scratch/f.db';" | shell "$scratch/a.db"
echo "$content" | shell "$scratch/f.db" >"$scratch/got"
cp "$scratch/kept" "$scratch/expected"
same "VACUUM INTO"

finish
