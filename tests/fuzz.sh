#!/bin/sh
# Runs every fuzz target under libFuzzer for FUZZ_SECONDS, two at a time, from its corpus. New inputs
# stay in the build directory; one that fails is named and kept there. With FUZZ_RUNS, that many inputs
# drawn from a fixed seed instead: a gate should say the same of a commit on fast and slow machines.
set -u
BUILD=${BUILD:-build}
clang=${FUZZ_CC:-clang}
work=$BUILD/fuzz
found=$work/found
bound="-max_total_time=${FUZZ_SECONDS:-60}"
length="${FUZZ_SECONDS:-60} s"
if [ -n "${FUZZ_RUNS:-}" ]; then
    found=$work/found-by-count
    bound="-seed=1 -runs=$FUZZ_RUNS"
    length="$FUZZ_RUNS inputs"
    rm -rf "$found"
fi
mkdir -p "$work"

sanitizers='-fsanitize=address,undefined -fno-sanitize-recover=all'
cat >"$work/probe.c" <<'END'
int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size);
int LLVMFuzzerTestOneInput(const unsigned char *data, unsigned long size)
{
    return data == 0 && size != 0;
}
END
# Flags and archives are lists of words.
# shellcheck disable=SC2086
if ! $clang $sanitizers -fsanitize=fuzzer -o "$work/probe" "$work/probe.c" 2>/dev/null; then
    echo "skip fuzz: no $clang with libFuzzer"
    exit 0
fi

# The archives and the targets' objects, instrumented; libFuzzer brings the main function.
archives="$work/obj/libtestkit.a $work/obj/libraftkv.a $work/obj/libhost.a $work/libkeelson.a"
targets=$(ls tests/fuzz_*.c | grep -v driver)
objects=
for source in $targets; do
    objects="$objects $work/obj/${source%.c}.o"
done
# shellcheck disable=SC2086
"${MAKE:-make}" --no-print-directory BUILD="$work" CC="$clang" \
    CFLAGS="-O1 -g $sanitizers -fsanitize=fuzzer-no-link" $archives $objects || exit 1

# fuzz NAME: shows what it did, once it is done; leaves a mark where it failed.
fuzz() {
    corpus=tests/corpus/$1
    [ -d "$corpus" ] || corpus=tests/corpus/${1#fuzz_}
    # shellcheck disable=SC2046,SC2086
    "$work/$1" $bound -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="$found/$1-" "$found/$1" \
        $([ -d "$corpus" ] && echo "$corpus") >"$work/$1.log" 2>&1 || : >"$work/$1.failed"
    said=$(echo "== $1, $length"
        grep -E 'number_of_executed_units|new_units_added' "$work/$1.log"
        [ ! -e "$work/$1.failed" ] || tail -n 30 "$work/$1.log")
    printf '%s\n' "$said"
}

rm -f "$work"/*.failed
running=0
for source in $targets; do
    name=$(basename "$source" .c)
    mkdir -p "$found/$name"
    # shellcheck disable=SC2086
    $clang $sanitizers -fsanitize=fuzzer -o "$work/$name" "$work/obj/tests/$name.o" $archives \
        -pthread || { wait; exit 1; }
    fuzz "$name" &
    running=$((running + 1))
    [ $((running % 2)) -ne 0 ] || wait
done
wait
! ls "$work"/*.failed >/dev/null 2>&1
