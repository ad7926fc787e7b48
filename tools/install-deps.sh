#!/bin/sh
# Installs what building, testing, linting or showing LiteKV needs and is not there yet.
#
#   tools/install-deps.sh [build] [chart] [demo] [fuzz] [lint] [rivals] [valgrind]
#
# Looks first and asks apt-get only for what is missing, so that on a machine that has
# everything it needs neither a network nor rights.
set -eu

needed=    # packages without which the build fails
optional=  # packages without which it is slower, or has less to compare itself with

has_program() {
    command -v "$1" >/dev/null 2>&1
}

has_header() {
    has_program cc && printf '#include <stddef.h>\n#include <%s>\n' "$1" |
        cc -E - >/dev/null 2>&1
}

# The fuzzer's library is a package of its own that clang only recommends.
has_fuzzer() {
    has_program clang && printf '%s\n' '#include <stddef.h>' \
        'int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);' \
        'int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)' \
        '{ return data == NULL && size > 0; }' |
        clang -fsanitize=fuzzer -x c - -o /dev/null >/dev/null 2>&1
}

want_program() { # program package
    has_program "$1" || needed="$needed $2"
}

want_header() { # header package
    has_header "$1" || needed="$needed $2"
}

for group in "$@"; do
    case $group in
    build)
        want_program cc gcc
        want_program ar binutils
        want_program make make
        want_program perl perl
        want_header stdio.h libc6-dev
        want_header sqlite3ext.h libsqlite3-dev
        want_header zlib.h zlib1g-dev
        want_header xxhash.h libxxhash-dev
        has_header libdeflate.h || optional="$optional libdeflate-dev"
        ;;
    chart)
        want_program gnuplot gnuplot-nox
        ;;
    demo)
        want_program sqlite3 sqlite3
        ;;
    lint)
        want_program gcc gcc
        want_program clang clang
        want_program clang-format clang-format
        want_program clang-tidy clang-tidy
        want_program cppcheck cppcheck
        ;;
    fuzz)
        want_program clang clang
        has_fuzzer || needed="$needed libclang-rt-dev"
        ;;
    rivals)
        has_header lmdb.h || optional="$optional liblmdb-dev"
        has_header leveldb/c.h || optional="$optional libleveldb-dev"
        has_header rocksdb/c.h || optional="$optional librocksdb-dev"
        has_header tkrzw_langc.h || optional="$optional libtkrzw-dev"
        ;;
    valgrind)
        want_program valgrind valgrind
        ;;
    *)
        echo "install-deps: unknown group \"$group\"; groups are build, chart, demo, fuzz, lint, rivals, valgrind" >&2
        exit 2
        ;;
    esac
done

if [ -z "$needed$optional" ]; then
    exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
reason=
if ! has_program apt-get; then
    reason="there is no apt-get here"
elif [ -n "$as_root" ] && ! has_program sudo; then
    reason="this is not root, and there is no sudo"
fi
if [ -n "$reason" ]; then
    if [ -z "$needed" ]; then
        echo "install-deps: $reason; going on without$optional (nothing fails without)"
        exit 0
    fi
    echo "install-deps: $reason; please install what these Debian packages hold:" >&2
    echo "   $needed${optional:+ (and, if you like:$optional)}" >&2
    exit 1
fi

install() {
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@"
}

echo "install-deps: installing$needed$optional"
# Without a network the lists at hand may still do.
$as_root apt-get update -q || true
if [ -n "$needed" ]; then
    # The words of $needed are package names.
    # shellcheck disable=SC2086
    install $needed
fi
if [ -n "$optional" ]; then
    # shellcheck disable=SC2086
    install $optional ||
        echo "install-deps: going on without$optional (nothing fails without)"
fi
