#!/bin/sh
# Proves what a compiler does not: the format of the sources, no warning of either
# compiler, clang-tidy, cppcheck, the layers, what leaves the object files, sizes, and that the
# rules of core/FORMAT.md have their tests.
#
#   tools/lint.sh BUILD
#
# Ends in `lint: clean` or `lint: N problems`.
set -u

build=${1:?usage: tools/lint.sh BUILD}
problems=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-lint.XXXXXX") || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# Runs a check whose output, if any, is the list of what is wrong.
check() { # name command...
    title=$1
    shift
    "$@" >"$scratch/out" 2>&1
    status=$?
    if [ "$status" -ne 0 ] || [ -s "$scratch/out" ]; then
        echo "not ok $title"
        sed 's/^/    /' "$scratch/out" | tail -n 60
        problems=$((problems + 1))
    else
        echo "ok $title"
    fi
}

sources() { # the C files below the directories named, tests included
    for dir in "$@"; do
        if [ -d "$dir" ]; then
            find "$dir" -name '*.[ch]'
        fi
    done | sort
}

all_sources() {
    sources core ext sql-tests fuzz bench
}

formatting() {
    all_sources | xargs -r clang-format --dry-run -Werror
}

warnings() { # compiler
    make --no-print-directory -k -s -j2 objects QUIET=1 CC="$1" WERROR=1 SAN= \
        BUILD="$build/lint-$1"
}

# A process for each file, two at once. In tests the static analyzer looks at a quarter of the
# states of a function that it looks at elsewhere, which nearly halves the time.
tidy() {
    all_sources | grep '\.c$' >"$scratch/files"
    # The inner shell expands these.
    # shellcheck disable=SC2016
    xargs -r -n 1 -P 2 sh -c '
        case $1 in
        fuzz/*) more=-DSQLITE_CORE ;;
        */test/*) more="-Xclang -analyzer-config -Xclang max-nodes=56000" ;;
        *) more= ;;
        esac
        clang-tidy --quiet "$1" -- -std=c11 -D_GNU_SOURCE -Icore -Iext $more >"$0.$$" 2>&1 ||
            grep -Ev "^[0-9]+ warnings? |^Suppressed |^Use -header" "$0.$$"
        true' "$scratch/tidy" <"$scratch/files"
}

# Without --inline-suppr: nothing in the sources silences it. What is silenced here:
#   ctuuninitvar  takes `d->path`, an array, for a read of it; memcheck sees real ones
# It does not know _Noreturn by itself.
cppcheck_all() {
    cppcheck --quiet -j 2 --cppcheck-build-dir="$scratch" --std=c11 --enable=warning,performance,portability \
        --suppress=ctuuninitvar -D_GNU_SOURCE -D_Noreturn='__attribute__((noreturn))' \
        -Icore -Iext --error-exitcode=1 core ext sql-tests fuzz bench
}

# --- layers ---------------------------------------------------------------------------

core_knows_no_sqlite() {
    if grep -rniE 'sqlite3_|sqlite3\.h|sqlite3ext' core --include='*.[ch]'; then return 1; fi
}

includes() { # file: its own (quoted) includes, without directories
    sed -n 's/^ *# *include *"\(.*\)".*/\1/p' "$1" | sed 's|.*/||'
}

# Every header that a file of core may include, by file; the rest of core (store.c and
# tests) may include all of core. A name that is not listed is a new file: it gets its
# line here when it comes.
core_includes_downward() {
    while read -r name allowed; do
        for file in core/$name.c core/$name.h; do
            [ -e "$file" ] || continue
            for header in $(includes "$file"); do
                case " $name.h litekv.h os.h $allowed " in
                *" $header "*) ;;
                *) echo "$file includes $header" ;;
                esac
            done
        done
    done <<'LAYERS'
os
litekv
storage
checksum
format checksum.h storage.h
node format.h
memindex format.h node.h
end storage.h format.h
mark log.h
root log.h
gap format.h
journal memindex.h
cursor store.h
recover replay.h store.h torn.h
torn replay.h log.h
replay log.h
runcheck part.h
partscan part.h
rebuild partscan.h replay.h store.h
stream block.h
transfer rebuild.h runcheck.h stream.h
content rebuild.h
serial content.h history.h stream.h
wreck block.h storage.h
salvage content.h verify.h wreck.h
salvagelog salvage.h
salvageparts salvage.h
measure store.h
verify rebuild.h runcheck.h store.h
verifyparts partscan.h verify.h
store compact.h gap.h journal.h log.h memindex.h merge.h
flush store.h
slice store.h
filter format.h
block filter.h
run block.h storage.h
runwriter run.h
runs format.h
tops run.h runs.h top.h
top tops.h
merge run.h runs.h
part log.h run.h
partwriter part.h
history log.h memindex.h
compact history.h part.h partscan.h
compactopen compact.h
cache format.h
log runs.h storage.h tops.h
storage_mem storage.h format.h
storage_posix posix.h storage.h
posix cache.h format.h storage_posix.h
posix_name posix.h
posix_object posix.h
posix_write posix.h
posix_open posix.h
posix_end posix.h
posix_root posix.h
os_shared
os_posix
onefile
LAYERS
    # No header of ext, and nothing by a path that leaves core.
    for file in $(sources core); do
        for header in $(includes "$file"); do
            if [ -e "ext/$header" ] && [ ! -e "core/$header" ] &&
                [ ! -e "core/test/$header" ]; then
                echo "$file includes $header of ext"
            fi
        done
    done
}

only_format_knows_records() {
    grep -nE '\+ *LKV_RECORD_HEADER|LKV_RECORD_HEADER *\+|\[4\] *[!=]= *LKV_KIND' core/*.[ch] ext/*.[ch] |
        grep -v '^core/format\.[ch]:'
    return 0
}

ext_includes_the_public_headers() {
    for file in ext/*.[ch]; do
        [ -e "$file" ] || continue
        for header in $(includes "$file"); do
            [ -e "core/$header" ] && [ ! -e "ext/$header" ] || continue
            case $file:$header in
            *:litekv.h | *:storage.h | *:storage_posix.h | *:os.h) ;;
            ext/db.h:cache.h | ext/export.c:onefile.h) ;;
            *) echo "$file includes $header" ;;
            esac
        done
    done
}

# What an object of core may ask of the world: core itself, functions that only touch
# memory handed to them, and the checksums. Allocation and system calls are os_posix.c's
# and storage_posix.c's.
core_asks_only_os() {
    for object in "$build"/lint-gcc/obj/core/*.o; do
        [ -e "$object" ] || { echo "no objects of core in $build"; return 1; }
        case $object in
        */os_posix.o | */os_shared.o) continue ;;
        esac
        nm -u "$object" | awk '{ print $NF }' | grep -Ev \
            '^(lkv_.*|mem(cpy|cmp|move|set|chr)|str(n?len|n?cmp|n?cat|r?chr)|v?snprintf|__(mem|v?snprintf).*_chk|libdeflate_crc32|crc32(_z)?|__stack_chk_fail|__assert_fail|_GLOBAL_OFFSET_TABLE_)$' |
            sed "s|^|$(basename "$object") uses |"
    done
}

one_symbol_leaves() {
    [ -n "$(find ext -maxdepth 1 -name '*.c' 2>/dev/null)" ] || return 0
    make --no-print-directory -s all QUIET=1 CC=gcc WERROR=1 SAN= BUILD="$build/lint-gcc" ||
        return 1
    nm -D --defined-only "$build/lint-gcc/litekv.so" | awk '{ print $NF }' \
        >"$scratch/symbols"
    grep -qx sqlite3_litekv_init "$scratch/symbols" ||
        echo "sqlite3_litekv_init does not leave litekv.so"
    grep -vx sqlite3_litekv_init "$scratch/symbols" | sed 's/$/ leaves litekv.so/'
    if readelf -d "$build/lint-gcc/litekv.so" | grep -F 'libsqlite3'; then
        echo "litekv.so is linked with libsqlite3; it has to use the one that loads it"
    fi
}

amalgamation() {
    [ -n "$(find ext -maxdepth 1 -name '*.c' 2>/dev/null)" ] || return 0
    make --no-print-directory -s amalgamation CC=gcc SAN= BUILD="$build/lint-gcc" ||
        return 1
    for compiler in gcc clang; do
        "$compiler" -std=c11 -O2 -fPIC -fvisibility=hidden -Wall -Wextra \
            -Wno-unused-function -Werror -shared -Wl,-z,defs "$build/lint-gcc/litekv.c" -lz \
            -o "$scratch/one-$compiler.so"
    done
    # As a part of an application, with the least of SQLite.
    gcc -std=c11 -O1 -DSQLITE_CORE -DSQLITE_OMIT_UTF16 -Wall -Wextra -Wno-unused-function \
        -Werror -c "$build/lint-gcc/litekv.c" -o "$scratch/one.o"
}

# --- sizes and words ------------------------------------------------------------------

file_sizes() {
    all_sources | while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 600 ] || echo "$file has $lines lines; the limit is 600"
    done
}

# Functions end in a brace in the first column and begin with one (Linux braces).
function_sizes() {
    all_sources | xargs -r awk '
        /^[A-Za-z_].*\(/ { start = FNR; name = $0 }
        /^{/ { inside = 1 }
        /^}/ {
            if (inside && FNR - start + 1 > 80)
                printf "%s:%d: %d lines; the limit is 80: %s\n", FILENAME, start,
                    FNR - start + 1, name
            inside = 0
        }'
}

# Marks of unfinished work. Spelt in pieces, so that this file passes.
words() {
    marks='TO''DO|FIX''ME|XX''X|HA''CK|T''BD'
    if grep -rnwE "$marks" . --include='*' --exclude-dir=.git --exclude-dir='build*' --exclude-dir=corpus; then
        return 1
    fi
}

names_of_tests() { # file: "test_x.c: name" for each test that a rule names
    sed -n 's/`//g; s/^[ *-]*Tests*: *//p' "$1" | tr ';,' '\n\n' |
        sed -n 's/^ *\([A-Za-z0-9_.-]*\): *\([A-Za-z0-9_ -]*[A-Za-z0-9_]\).*/\1 \2/p'
}

# Each rule F1, F2, ... stands in a heading or at the start of a line or of bold text, and
# has one line `Test: test_log.c: torn_commit` (several with commas) before the next.
rules_have_tests() {
    format=core/FORMAT.md
    if [ ! -e "$format" ]; then
        echo "$format is missing"
        return 1
    fi
    awk '
        function done() { if (rule != "" && !named) print rule " names no test" }
        /^[#*| -]*F[0-9]+[^A-Za-z0-9]/ {
            match($0, /F[0-9]+/)
            next_rule = substr($0, RSTART, RLENGTH)
            if (next_rule != rule) { done(); rule = next_rule; named = 0; rules++ }
        }
        /Tests?: / { named = 1 }
        END { done(); if (!rules) print "no rule F1, F2, ... found" }' "$format"
    names_of_tests "$format" | while read -r file name; do
        path=$(find core ext sql-tests fuzz -name "$file" 2>/dev/null | head -n 1)
        if [ -z "$path" ]; then
            echo "$format names $file, which is not there"
        elif ! grep -qwF -- "$name" "$path"; then
            echo "$format names the test $name, which is not in $path"
        fi
    done
    # Code may cite only rules that are there.
    grep -rhoE '\bF[0-9]+\b' core --include='*.[ch]' | sort -u | while read -r rule; do
        grep -qE "\\b$rule\\b" "$format" || echo "the code cites $rule; $format has no such rule"
    done
}

scripts_parse() {
    for script in tools/*.sh bench/*.sh demo/*.sh sql-tests/*.sh .ci/run; do
        [ -e "$script" ] || continue
        case $(head -n 1 "$script") in
        *bash*) bash -n "$script" ;;
        *) sh -n "$script" ;;
        esac
    done
    for script in tools/*.pl sql-tests/*.pl; do
        perl -c "$script" 2>&1 | grep -v 'syntax OK'
    done
    true
}

check "format of the sources" formatting
check "core knows no SQLite" core_knows_no_sqlite
check "core includes downward" core_includes_downward
check "only format.c and format.h know where things stand in a record" only_format_knows_records
check "ext includes the public headers of core" ext_includes_the_public_headers
check "files of at most 600 lines" file_sizes
check "functions of at most 80 lines" function_sizes
check "no marks of unfinished work" words
check "rules of the format have their tests" rules_have_tests
check "scripts parse" scripts_parse
check "no warnings: gcc" warnings gcc
check "no warnings: clang" warnings clang
check "core asks only os.h of the world" core_asks_only_os
check "only sqlite3_litekv_init leaves the extension" one_symbol_leaves
check "amalgamation compiles" amalgamation
check "clang-tidy" tidy
check "cppcheck" cppcheck_all

if [ "$problems" -gt 0 ]; then
    echo "lint: $problems problems"
    exit 1
fi
echo "lint: clean"
