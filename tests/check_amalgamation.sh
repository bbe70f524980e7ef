#!/bin/sh
# The amalgamated pair is the library: it compiles silently with every compiler that is here, runs
# hello, exports what the library exports and nothing but raft_*, and asks the system for no more
# than memory. The header alone is C99 and C++, and the pair can live inside one source file.
set -u
BUILD=${BUILD:-build}
CC=${CC:-cc}
work=$BUILD/amalgamation
passed=0
failed=0

# check NAME COMMAND...: the command succeeds and says nothing on stderr.
check() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1 && ! grep -q -i 'warning' "$work/out"; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name: $*"
        head -n 20 "$work/out"
        failed=$((failed + 1))
    fi
}

has() {
    command -v "$1" >/dev/null 2>&1 || { echo "skip $1: not installed"; return 1; }
}

warnings='-pedantic -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wundef -Wcast-qual -Wwrite-strings -Wvla'
libc='memcpy memmove memset memcmp strlen malloc realloc calloc free abort'
# What compilers add by themselves: stack protection, position-independent code and instrumented
# builds (make sanitize) are the business of whoever compiles.
runtime='_GLOBAL_OFFSET_TABLE_ __stack_chk_fail __stack_chk_fail_local __stack_chk_guard
    __memcpy_chk __memmove_chk __memset_chk __x86.* __aeabi_* __udivdi3 __umoddi3 __divdi3
    __moddi3 __popcountdi2 __popcountsi2 __asan_* __ubsan_*'

rm -rf "$work"
mkdir -p "$work"
check the_pair_is_written sh tools/amalgamate.sh "$work"

same_bytes() {
    sh tools/amalgamate.sh "$work/again" && cmp "$work/raft.h" "$work/again/raft.h" &&
        cmp "$work/raft.c" "$work/again/raft.c"
}
check the_pair_is_the_same_when_written_again same_bytes

# Every line of the licence, wherever it stands and whatever encloses it.
has_licence() {
    while read -r line; do
        [ -z "$line" ] || grep -q -F "$line" "$1" || { echo "$1 lacks: $line"; return 1; }
    done <LICENSE
}
check the_licence_is_in_the_header has_licence "$work/raft.h"
check the_licence_is_in_the_source has_licence "$work/raft.c"

# has_whole FILE: no line of a source is lost but the includes of the library's own headers.
has_whole() {
    grep -v '^#include "' "$1" >"$work/lines"
    sed -n "/^.. ==== $1 ==== ..$/,/^.. ==== .* ==== ..$/p" "$work/raft.c" | sed '1,2d' |
        head -n "$(wc -l <"$work/lines")" | diff "$work/lines" -
}
for source in *.c *.h; do
    [ "$source" = raft.h ] || check "the_pair_has_the_whole_of_$source" has_whole "$source"
done

# A source and a private header that are added are taken along with nothing else edited; a private
# header that is not there is an error.
copy=$work/copy
mkdir -p "$copy/tools"
cp ./*.c ./*.h LICENSE "$copy"
cp tools/amalgamate.sh "$copy/tools"
printf '#include "added.h"\nint raft_added(void)\n{\n    return added();\n}\n' >"$copy/added.c"
printf '#include "raft_internal.h"\nstatic inline int added(void)\n{\n    return 7;\n}\n' \
    >"$copy/added.h"
printf 'int raft_added(void);\nint main(void)\n{\n    return raft_added() - 7;\n}\n' \
    >"$work/added_main.c"
takes_what_is_added() {
    sh "$copy/tools/amalgamate.sh" "$copy/dist" &&
        "$CC" -std=c11 -o "$work/added" "$work/added_main.c" "$copy/dist/raft.c" &&
        "$work/added"
}
refuses_what_is_missing() {
    rm "$copy/added.h"
    ! sh "$copy/tools/amalgamate.sh" "$copy/missing" && [ ! -e "$copy/missing/raft.c" ]
}
check what_is_added_is_taken_along takes_what_is_added
check a_missing_private_header_is_an_error refuses_what_is_missing

# runs COMPILER...: compiles the pair and hello, and runs them.
runs() {
    # shellcheck disable=SC2086
    "$@" -std=c11 $warnings -I "$work" -o "$work/hello" examples/hello.c "$work/raft.c" &&
        "$work/hello" | grep -q 'server 3 holds "hello, world"'
}
for compiler in gcc clang tcc musl-gcc; do
    if has "$compiler"; then
        check "the_pair_runs_when_compiled_by_$compiler" runs "$compiler"
    fi
done
check the_pair_runs_when_optimised runs "$CC" -O2

# A program that includes both files as they are, with the public functions static as well. It
# cannot use all of them, and that is no mistake of its own.
cat "$work/raft.c" examples/hello.c >"$work/single.c"
single() {
    # shellcheck disable=SC2086
    "$CC" -std=c11 $warnings -Wno-unused-function -DRAFT_API=static -I "$work" \
        -o "$work/single" "$work/single.c" && "$work/single" >/dev/null
}
check the_pair_lives_inside_one_source_file single

printf '#include "raft.h"\nint main() { return raft_version_number() > 0 ? 0 : 1; }\n' \
    >"$work/header.cc"
printf '#include "raft.h"\n#include "raft.h"\nint unused;\n' >"$work/header.c"
"$CC" -std=c11 -O2 -I "$work" -c -o "$work/raft.o" "$work/raft.c"
for compiler in g++ clang++; do
    if has "$compiler"; then
        check "the_header_is_for_${compiler}_too" "$compiler" -std=c++98 -Wall -Wextra \
            -Wno-long-long -I "$work" -o "$work/cxx" "$work/header.cc" "$work/raft.o"
        check "the_header_links_with_$compiler" "$work/cxx"
    fi
done
check the_header_is_c99 "$CC" -std=c99 -pedantic -Wall -Wextra -I "$work" -c \
    -o "$work/header.o" "$work/header.c"

# ---- Symbols -------------------------------------------------------------------------------------

if has nm; then
    defined() {
        nm -g "$@" 2>/dev/null | awk 'NF == 3 && $2 ~ /^[A-Z]$/ { print $3 }' | sort -u
    }
    undefined() {
        defined "$@" >"$work/defined"
        nm -g "$@" 2>/dev/null | awk 'NF == 2 && $1 ~ /^[Uw]$/ { print $2 }' | sort -u |
            grep -v -x -F -f "$work/defined"
    }
    # An empty result is what these checks want.
    only_raft() {
        defined "$@" | grep -v '^raft_' | awk '{ print } END { exit NR > 0 }'
    }
    only_memory() {
        for symbol in $(undefined "$@"); do
            known=no
            for allowed in $libc $runtime; do
                # shellcheck disable=SC2254
                case $symbol in
                    $allowed) known=yes ;;
                esac
            done
            [ $known = yes ] || { echo "needs $symbol"; return 1; }
        done
    }
    same_api() {
        defined "$BUILD/libkeelson.a" | grep -v '^raft__' >"$work/library.txt"
        defined "$work/raft.o" >"$work/pair.txt"
        grep -q raft_poll "$work/pair.txt" && diff "$work/library.txt" "$work/pair.txt"
    }
    # Tables of constant pointers (.data.rel.ro) are written once, by the loader.
    no_state() {
        nm --format=sysv "$@" 2>/dev/null |
            awk -F '|' '$3 ~ /^ *[BbDdCGgSs] *$/ && $7 !~ /\.rel\.ro/ { print; found = 1 }
                        END { exit found }'
    }
    set -f
    check the_library_exports_only_raft only_raft "$BUILD/libkeelson.a"
    check the_pair_exports_only_raft only_raft "$work/raft.o"
    check the_pair_exports_what_the_library_does same_api
    check the_library_needs_only_memory only_memory "$BUILD/libkeelson.a"
    check the_pair_needs_only_memory only_memory "$work/raft.o"
    check the_library_has_no_mutable_data no_state "$BUILD/libkeelson.a"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
