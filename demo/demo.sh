#!/bin/sh
# Shows LiteKV in the stock sqlite3 shell, on data that this machine has.
#
#   demo/demo.sh BUILD
#
# Prints the SQL that it runs and what comes back, compares with an ordinary table at
# every step, and exits 1 when anything differs.
set -eu

build=${1:?usage: demo/demo.sh BUILD}
extension=$build/litekv
case $extension in /*) ;; *) extension=./$extension ;; esac
fewest=10000
dir=$(mktemp -d "${TMPDIR:-/tmp}/litekv-demo.XXXXXX")
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

die() {
    echo "demo: $*" >&2
    exit 1
}

title() {
    printf '\n--- %s\n' "$*"
}

# The stock shell, with nobody's .sqliterc.
shell() { # database
    sqlite3 -batch -bail -init /dev/null "$1"
}

# Runs SQL from standard input; each statement is shown above its result.
show() { # database
    echo "\$ sqlite3 $(basename "$1")"
    {
        echo ".headers on"
        echo ".mode column"
        echo ".echo on"
        echo ".load $extension"
        cat
    } | shell "$1" >"$dir/out" 2>&1 || {
        sed 's/^/  /' "$dir/out"
        die "the shell reports an error"
    }
    sed 's/^/  /' "$dir/out"
}

# One value, silently.
value() { # database sql
    printf '.load %s\n.mode list\n%s\n' "$extension" "$2" | shell "$1"
}

checks=0
source_name=
same() { # what, litekv's, the ordinary table's
    if [ "$2" != "$3" ]; then
        die "$1: litekv says \"$2\", the ordinary table \"$3\""
    fi
    checks=$((checks + 1))
    echo "  ok: $1: $2"
}

# --- data: name, kind, size, about, one record a line, with tabs between -----------------

from_apt() {
    command -v apt-cache >/dev/null 2>&1 || return 1
    source_name="apt's package index"
    prefix=libsq wanted=sqlite3
    apt-cache dumpavail 2>/dev/null | awk -v OFS='\t' '
        function put() { if (name != "") print name, kind, size, about }
        { gsub(/\t/, " ") }
        /^Package: /     { name = substr($0, 10); kind = about = ""; size = 0 }
        /^Section: /     { kind = substr($0, 10) }
        /^Size: /        { size = $2 }
        /^Description(-en)?: / { about = $0; sub(/^[^:]*: /, "", about) }
        /^$/             { put(); name = "" }
        END              { put() }' >"$dir/data"
}

from_unicode() {
    table=$(find /usr/share/perl /usr/lib -path '*unicore/Name.pl' 2>/dev/null | head -n 1)
    [ -n "$table" ] || return 1
    source_name="Unicode's names of characters"
    prefix=1F6 wanted=0041
    awk -v RS= -F '\n' -v OFS='\t' '
        NF == 2 && $1 ~ /^[0-9A-F]+$/ {
            kind = $2; sub(/ .*/, "", kind)
            print $1, kind, length($2), $2
        }' "$table" >"$dir/data"
}

from_files() {
    source_name="the files below /usr"
    prefix=/usr/bin/ wanted=/usr/bin/env
    find /usr -type f -printf '%p\t%Y\t%s\t%t\n' 2>/dev/null | LC_ALL=C grep -v '"' \
        >"$dir/data" || true
}

enough() {
    [ "$(wc -l <"$dir/data")" -ge "$fewest" ]
}

: >"$dir/data"
for from in from_apt from_unicode from_files; do
    if "$from" && enough; then
        break
    fi
    source_name=
done
[ -n "$source_name" ] || die "this machine has no $fewest records to load: apt's lists are empty (apt-get update fills them), perl's Unicode tables are missing, and /usr has few files"
cut -f 1 "$dir/data" | grep -qxF -- "$wanted" ||
    wanted=$(sed -n "$(($(wc -l <"$dir/data") / 2))p" "$dir/data" | cut -f 1)
# Quotes doubled, for use inside SQL's.
wanted=$(printf '%s' "$wanted" | sed "s/'/''/g")
# The first string past all that begin with the prefix: its last byte plus one.
after=$(printf '%s' "$prefix" | perl -pe 's/(.)$/chr(ord($1) + 1)/e')

echo "LiteKV $(value :memory: 'SELECT litekv_version();'), SQLite $(value :memory: 'SELECT sqlite_version();')"
echo "Data: $(wc -l <"$dir/data" | tr -d ' ') records of $source_name, in random order."

# The records as a table that both sides are filled from, in the same random order.
shell "$dir/data.db" <<SQL
CREATE TABLE sorted(name TEXT, kind TEXT, size INTEGER, about TEXT);
.mode ascii
.separator "\t" "\n"
.import $dir/data sorted
CREATE TABLE records AS SELECT * FROM sorted ORDER BY random();
SQL
loaded=$(value "$dir/data.db" 'SELECT count(DISTINCT name) FROM records;')
[ "$loaded" -ge "$fewest" ] || die "only $loaded different names; at least $fewest are wanted"

kv=$dir/litekv.db
plain=$dir/ordinary.db

title "Load: a key-value table; every write is an append to its log"
show "$kv" <<SQL
PRAGMA journal_mode = WAL;
CREATE VIRTUAL TABLE kv USING litekv(name TEXT, kind TEXT, size INTEGER, about TEXT);
ATTACH '$dir/data.db' AS source;
.timer on
INSERT OR REPLACE INTO kv SELECT name, kind, size, about FROM source.records;
SQL

title "The same into an ordinary table"
show "$plain" <<SQL
PRAGMA journal_mode = WAL;
CREATE TABLE kv(name TEXT PRIMARY KEY NOT NULL, kind TEXT, size INTEGER, about TEXT)
  WITHOUT ROWID;
ATTACH '$dir/data.db' AS source;
.timer on
INSERT OR REPLACE INTO kv SELECT name, kind, size, about FROM source.records;
SQL

count='SELECT count(*) FROM kv;'
same "records" "$(value "$kv" "$count")" "$(value "$plain" "$count")"
same "different names in the data" "$(value "$kv" "$count")" "$loaded"

# Rows that one side has and the other has not.
difference() {
    value "$kv" "ATTACH '$plain' AS plain;
        SELECT (SELECT count(*) FROM (SELECT * FROM main.kv EXCEPT SELECT * FROM plain.kv))
             + (SELECT count(*) FROM (SELECT * FROM plain.kv EXCEPT SELECT * FROM main.kv));"
}
same "rows that differ" "$(difference)" 0

title "Read by key"
show "$kv" <<SQL
SELECT name, kind, size FROM kv WHERE name = '$wanted';
EXPLAIN QUERY PLAN SELECT * FROM kv WHERE name = '$wanted';
SQL
one="SELECT name, kind, size, about FROM kv WHERE name = '$wanted';"
same "that row" "$(value "$kv" "$one")" "$(value "$plain" "$one")"

title "A range by prefix, in key order and backwards, without a sorter"
show "$kv" <<SQL
SELECT name, size FROM kv WHERE name >= '$prefix' AND name < '$after' ORDER BY name LIMIT 5;
SELECT name, size FROM kv WHERE name GLOB '$prefix*' ORDER BY name DESC LIMIT 5;
EXPLAIN QUERY PLAN SELECT name FROM kv WHERE name GLOB '$prefix*' ORDER BY name DESC;
SELECT min(name), max(name) FROM kv;
SQL
plan=$(value "$kv" "EXPLAIN QUERY PLAN SELECT name FROM kv WHERE name GLOB '$prefix*' ORDER BY name DESC;")
case $plan in
*"TEMP B-TREE"*) die "the plan sorts: $plan" ;;
esac
range="SELECT count(*), sum(size), min(name), max(name) FROM kv WHERE name GLOB '$prefix*';"
same "the whole range" "$(value "$kv" "$range")" "$(value "$plain" "$range")"
range="SELECT group_concat(name) FROM (SELECT name FROM kv WHERE name >= '$prefix' AND name < '$after' ORDER BY name DESC LIMIT 20);"
same "its last names" "$(value "$kv" "$range")" "$(value "$plain" "$range")"

title "Update, delete and insert in one transaction"
changes="BEGIN;
UPDATE kv SET size = size + 1 WHERE name GLOB '$prefix*';
DELETE FROM kv WHERE name = '$wanted';
INSERT INTO kv VALUES('zz-demo', 'demo', 1, 'a row of our own');
COMMIT;"
show "$kv" <<SQL
$changes
SELECT count(*) FROM kv;
SQL
value "$plain" "$changes"
same "records" "$(value "$kv" "$count")" "$(value "$plain" "$count")"
same "rows that differ" "$(difference)" 0

title "Roll one back, and a part of another"
undone="BEGIN;
DELETE FROM kv;
INSERT INTO kv VALUES('zz-undone', 'demo', 2, 'never there');
ROLLBACK;
BEGIN;
UPDATE kv SET kind = 'kept' WHERE name = 'zz-demo';
SAVEPOINT half;
UPDATE kv SET kind = 'undone' WHERE name GLOB '$prefix*';
ROLLBACK TO half;
COMMIT;"
show "$kv" <<SQL
$undone
SELECT count(*) FROM kv;
SELECT name, kind FROM kv WHERE name >= 'zz-demo' AND name < 'zz-z';
SQL
value "$plain" "$undone"
same "rows that differ" "$(difference)" 0

title "Closed and opened again (every step above was a shell of its own)"
show "$kv" <<SQL
SELECT count(*) FROM kv;
SELECT kind, count(*) AS records, sum(size) AS size FROM kv GROUP BY kind
  ORDER BY records DESC LIMIT 5;
SELECT litekv_stats('kv') AS stats;
PRAGMA integrity_check;
SQL
groups='SELECT kind, count(*), sum(size) FROM kv GROUP BY kind ORDER BY 1;'
same "groups, by checksum" "$(value "$kv" "$groups" | cksum)" \
    "$(value "$plain" "$groups" | cksum)"

title "Sizes"
printf '  %-16s %12s %12s\n' table records 'file bytes'
printf '  %-16s %12s %12s\n' litekv "$(value "$kv" "$count")" "$(wc -c <"$kv" | tr -d ' ')"
printf '  %-16s %12s %12s\n' ordinary "$(value "$plain" "$count")" \
    "$(wc -c <"$plain" | tr -d ' ')"
echo "  A log also keeps what was overwritten and deleted."

printf '\ndemo: %s checks against the ordinary table, all equal\n' "$checks"
