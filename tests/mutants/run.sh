#!/bin/sh
# Plants known bugs, one at a time, in a copy of the sources, and shows how many seeds of the
# simulator it takes to find each: chance alone, no test is told what to look for.
#
#     tests/mutants/run.sh [patch...]      all of tests/mutants/*.patch where none is named
#
# BUILD: where the copy goes (a directory inside it). SEEDS: how many are tried before a mutant
# counts as a survivor (5000). JOBS: workers of the simulator (2). SEED: the first one (1).
# Each patch fixes its own bound with a line "seeds: N" if it needs more.
#
# Prints a row for each mutant: its name, the seeds it took, what found it. Fails if one survives, if
# a patch no longer applies, or if the unchanged sources are found guilty.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "${BUILD:-$root/build}"
scratch=$(mktemp -d "$(cd "${BUILD:-$root/build}" && pwd)/mutants.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

seeds=${SEEDS:-5000}
first=${SEED:-1}
jobs=${JOBS:-2}
passed=0
failed=0

copy_sources() {
    mkdir "$scratch/tree" "$scratch/tree/tests"
    cp "$root"/*.c "$root"/*.h "$root/Makefile" "$scratch/tree/"
    cp -R "$root/examples" "$scratch/tree/"
    cp -R "$root/tests/sim" "$scratch/tree/tests/"
}

# Objects are kept from one mutant to the next: only what the patch touches is compiled again.
build() {
    make -s -C "$scratch/tree" BUILD="$scratch/build" ${CC:+CC="$CC"} CFLAGS="-O2" \
        "$scratch/build/sim" >"$scratch/make.log" 2>&1
}

# Runs seeds until one fails. Leaves the number of seeds and what was broken; empty: nothing.
hunt() {
    taken=''
    broken=''
    "$scratch/build/sim" --seed "$first" --runs "$1" --jobs "$jobs" >"$scratch/out" 2>&1 || true
    line=$(grep '^seed .* FAILS: ' "$scratch/out" | head -n 1) || true
    if [ -n "$line" ]; then
        seed=${line#seed }
        taken=$((${seed%% *} - first + 1))
        broken=${line#*FAILS: }
    fi
}

row() {
    printf '%-44s %7s  %s\n' "$1" "$2" "$3"
}

pass() {
    passed=$((passed + 1))
}

fail() {
    failed=$((failed + 1))
}

# The unchanged sources: what follows means nothing if they fail.
try_original() {
    if ! build; then
        row '(the original)' - 'does not build'
        cat "$scratch/make.log"
        fail
        return
    fi
    hunt 200
    if [ -n "$broken" ]; then
        row '(the original)' "$taken" "$broken"
        fail
    else
        pass
    fi
}

try_mutant() {
    name=$(basename "$1" .patch)
    bound=$(sed -n 's/^seeds: *//p' "$1")
    if ! patch -s -d "$scratch/tree" -p1 <"$1" >"$scratch/patch.log" 2>&1; then
        row "$name" - 'the patch does not apply'
        fail
        rm -rf "$scratch/tree"
        copy_sources
        return
    fi
    if ! build; then
        row "$name" - 'does not build'
        cat "$scratch/make.log"
        fail
    else
        hunt "${bound:-$seeds}"
        if [ -n "$broken" ]; then
            row "$name" "$taken" "$broken"
            pass
        else
            row "$name" "> ${bound:-$seeds}" 'SURVIVES'
            fail
        fi
    fi
    patch -s -R -d "$scratch/tree" -p1 <"$1" >/dev/null
}

copy_sources
row mutant seeds 'found by'
try_original
if [ $# -eq 0 ]; then
    set -- "$here"/*.patch
fi
for mutant in "$@"; do
    try_mutant "$mutant"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
