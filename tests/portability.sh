#!/bin/sh
# Builds and runs the unit and scenario tests with every other compiler that is here, each in its
# own directory. A compiler that is absent, or cannot build a trivial program, is skipped.
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
}

try clang clang
try tcc tcc
try musl musl-gcc
try m32 'gcc -m32'
exit $failed
