#!/bin/sh
# Runs every fuzz target under libFuzzer for FUZZ_SECONDS, from its corpus. New inputs stay in the
# build directory; one that fails is named and kept there.
set -u
BUILD=${BUILD:-build}
seconds=${FUZZ_SECONDS:-60}
clang=${FUZZ_CC:-clang}
work=$BUILD/fuzz
mkdir -p "$work"

flags='-std=c11 -O1 -g -I. -Iexamples -fsanitize=fuzzer,address,undefined
    -fno-sanitize-recover=all'
printf '#include <stddef.h>\n#include <stdint.h>\nint LLVMFuzzerTestOneInput(const uint8_t *d, size_t n)\n{\n    (void)d;\n    (void)n;\n    return 0;\n}\n' >"$work/probe.c"
# shellcheck disable=SC2086
if ! $clang $flags -o "$work/probe" "$work/probe.c" 2>/dev/null; then
    echo "skip fuzz: no $clang with libFuzzer"
    exit 0
fi

host=$(ls examples/*.c | grep -v -E '/(hello|counter)\.c$')
kit=$(ls tests/*.c tests/sim/disk.c 2>/dev/null | grep -v -E '/(test|fuzz|bench)[^/]*\.c$')
failed=0
for source in tests/fuzz_*.c; do
    name=$(basename "$source" .c)
    [ "$name" = fuzz_driver ] && continue
    corpus=tests/corpus/$name
    [ -d "$corpus" ] || corpus=tests/corpus/${name#fuzz_}
    mkdir -p "$work/$name"
    # shellcheck disable=SC2086
    $clang $flags -pthread -o "$work/$name.bin" "$source" $kit $host ./*.c || { failed=1; continue; }
    echo "== $name, $seconds s"
    # shellcheck disable=SC2046
    "$work/$name.bin" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$work/$name-" "$work/$name" \
        $([ -d "$corpus" ] && echo "$corpus") >"$work/$name.log" 2>&1
    status=$?
    grep -E 'number_of_executed_units|new_units_added' "$work/$name.log"
    [ $status -eq 0 ] || { tail -n 30 "$work/$name.log"; failed=1; }
done
exit $failed
