#!/bin/sh
# Builds and runs the unit and scenario tests with every other compiler that is here, each in its
# own directory. A compiler that is absent, or cannot build a trivial program, is skipped.
#
# The simulator runs as well, and its trace must be that of the usual build: the same inputs give
# the same outputs whatever compiled them. Not so on 32 bits, where a bounded log holds more, since
# pointers are smaller; there it only has to find nothing.
set -u
BUILD=${BUILD:-build}
MAKE=${MAKE:-make}
root=$BUILD/portability
mkdir -p "$root"
printf '#include <pthread.h>\n#include <stdio.h>\nint main(void)\n{\n    return puts("") < 0;\n}\n' \
    >"$root/probe.c"

failed=0
try() {
    name=$1
    compiler=$2
    # The compiler may be two words ("gcc -m32").
    # shellcheck disable=SC2086
    if ! $compiler -o "$root/probe" "$root/probe.c" 2>/dev/null || ! "$root/probe" >/dev/null; then
        echo "skip $name: no working $compiler"
        return
    fi
    echo "== $name"
    "$MAKE" --no-print-directory BUILD="$root/$name" CC="$compiler" unit-test || failed=1
    [ -n "$reference" ] || return
    "$MAKE" --no-print-directory BUILD="$root/$name" CC="$compiler" "$root/$name/sim" || failed=1
    trace=$("$root/$name/sim" $seeds | tail -n 1)
    echo "sim: $trace"
    case $name:$trace in
        m32:*' 0 failed'*) ;;
        *:"$reference") ;;
        *) failed=1; echo "FAIL $name: not the trace of the usual build: $reference" ;;
    esac
}

seeds='--seed 1 --runs 300 --jobs 2'
reference=
[ -x "$BUILD/sim" ] && reference=$("$BUILD/sim" $seeds | tail -n 1)

try clang clang
try tcc tcc
try musl musl-gcc
try m32 'gcc -m32'
exit $failed
