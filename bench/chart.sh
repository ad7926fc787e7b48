#!/bin/sh
# Measures what an operation costs at several numbers of keys, and draws it.
#
#   bench/chart.sh BUILD
#
# Writes bench/chart.tsv, a line for each number of keys, and bench/chart.svg, drawn from
# it. Environment:
#   KEYS="10000 100000 1000000"   the numbers of keys; 10000000 takes ten minutes more
#   BENCH="-r 1"                  more arguments for BUILD/bench
#   DRAW=1                        draws bench/chart.tsv as it is and measures nothing
set -eu

build=${1:?usage: bench/chart.sh BUILD}
here=$(dirname "$0")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/litekv-chart.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# One line of bench/chart.tsv from the lines that BUILD/bench -t prints.
one_line() { # keys
    awk -F '\t' -v OFS='\t' -v keys="$1" '
        { litekv[$1] = $3; table[$1] = $4 }
        END {
            print keys, litekv["insert"], table["insert"],
                litekv["read"], litekv["read-compact"], table["read"],
                litekv["scan"], litekv["scan-compact"], table["scan"]
        }'
}

measure() {
    printf '# keys\tinsert: litekv\ttable\tread: litekv\tcompacted\ttable\t' >"$scratch/tsv"
    printf 'scan, a row: litekv\tcompacted\ttable\tmicroseconds\n' >>"$scratch/tsv"
    for keys in ${KEYS:-10000 100000 1000000}; do
        # $BENCH is words. No pipe, which would hide that bench failed.
        # shellcheck disable=SC2086
        "$build/bench" -e "$build/litekv.so" -n "$keys" -l chart -t ${BENCH:-} \
            >"$scratch/out"
        one_line "$keys" <"$scratch/out" >>"$scratch/tsv"
    done
    cp "$scratch/tsv" "$here/chart.tsv"
}

# A litekv.so without litekv_compact has no figures after it, and gets no line of them.
compacted() { # the column
    if awk -F '\t' -v at="$1" '!/^#/ && $at + 0 > 0 { found = 1 } END { exit !found }' \
        "$here/chart.tsv"; then
        echo ", file using 1:$1 with linespoints @compacted \
            title \"after litekv_compact\" noenhanced"
    fi
}

draw() {
    gnuplot <<PLOT
set terminal svg size 1080,460 font "sans-serif,12" background "white"
set output "$scratch/chart.svg"
set datafile missing "-"
set multiplot layout 1,3 margins 0.065,0.985,0.31,0.91 spacing 0.055
set logscale xy
set format x "10^{%T}"
set xlabel "keys in the table"
set grid lc rgb "#dddddd"
set border 3
set tics nomirror
set key below vertical samplen 2
set pointsize 0.7
litekv = "lc rgb '#0b6e99' lw 2 pt 7"
compacted = "lc rgb '#0b6e99' lw 2 dt 2 pt 6"
table = "lc rgb '#d9730d' lw 2 pt 5"
file = "$here/chart.tsv"
set ylabel "microseconds"
set title "random insert, transactions of 1,000"
plot file using 1:2 with linespoints @litekv title "litekv", \
     file using 1:3 with linespoints @table title "ordinary table"
unset ylabel
set title "point read"
plot file using 1:4 with linespoints @litekv title "litekv", \
     file using 1:6 with linespoints @table title "ordinary table"$(compacted 5)
set title "scan in key order, a row"
plot file using 1:7 with linespoints @litekv title "litekv", \
     file using 1:9 with linespoints @table title "ordinary table"$(compacted 8)
unset multiplot
PLOT
    cp "$scratch/chart.svg" "$here/chart.svg"
}

if [ -z "${DRAW:-}" ]; then
    measure
fi
draw
echo "bench/chart.svg and bench/chart.tsv are written"
