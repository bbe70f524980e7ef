#!/bin/sh
# Plants known bugs, one at a time, in a copy of the sources, and shows how many seeds of the
# simulator it takes to find each: chance alone, no test is told what to look for.
#
#     tests/mutants/run.sh [patch...]      all of tests/mutants/*.patch where none is named
#
# BUILD: where the copies go (a directory inside it). JOBS: copies that are tried at once (2). SEED:
# the first seed (1). How many are tried before a mutant counts as a survivor is said by a line
# "seeds: N" in its patch: ten times what it takes, or more. SEEDS: the bound of all of them. A line
# "protocol: multipaxos" has the runs play that one instead of Raft.
#
# Prints a row for each mutant: its name, the seeds it took, what found it. Fails if one survives,
# if a patch no longer applies, or if the unchanged sources fail, be it the seed that a mutant fails.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
mkdir -p "${BUILD:-$root/build}"
scratch=$(mktemp -d "$(cd "${BUILD:-$root/build}" && pwd)/mutants.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

first=${SEED:-1}
jobs=${JOBS:-2}

row() {
    printf '%-44s %7s  %s\n' "$1" "$2" "$3"
}

pass() {
    echo >>"$scratch/passed"
}

fail() {
    echo >>"$scratch/failed"
}

# The sources as they are now, those of all copies.
copy_sources() {
    mkdir "$scratch/source" "$scratch/source/tests"
    cp "$root"/*.c "$root"/*.h "$root/Makefile" "$scratch/source/"
    cp -R "$root/examples" "$scratch/source/"
    cp -R "$root/tests/sim" "$scratch/source/tests/"
}

# ---- A copy: $tree, built in $build, its program without a bug in $original -----------------------

build() {
    make -s -C "$tree" BUILD="$build" ${CC:+CC="$CC"} CFLAGS="-O2" "$build/sim" >"$build.log" 2>&1
}

# Runs seeds until one fails. Leaves the number of seeds and what was broken; empty: nothing.
hunt() {
    taken=''
    broken=''
    "$build/sim" --protocol "$protocol" --seed "$first" --runs "$1" >"$build.out" 2>&1 || true
    line=$(grep '^seed .* FAILS: ' "$build.out" | head -n 1) || true
    if [ -n "$line" ]; then
        seed=${line#seed }
        seed=${seed%% *}
        taken=$((seed - first + 1))
        broken=${line#*FAILS: }
    fi
}

# What was found is the mutant's doing only where the original passes that seed.
judge() {
    if [ -z "$broken" ]; then
        row "$1" "> $2" 'SURVIVES'
        fail
    elif ! "$original" --protocol "$protocol" --seed "$seed" >/dev/null 2>&1; then
        row "$1" "$taken" "the original fails as well: $broken"
        fail
    else
        row "$1" "$taken" "$broken"
        pass
    fi
}

# As it was, with its object: only what the next patch touches is compiled. Headers cost more. What
# holds the object of the mutant goes, since it is newer than the one that was restored.
restore() {
    rm -f "$build/sim" "$build"/*.a "$build"/obj/*.a
    sed -n 's|^+++ b/||p' "$1" | while read -r file; do
        case $file in
        *.c)
            cp -p "$scratch/source/$file" "$tree/$file"
            cp -p "$build.objects/${file%.c}.o" "$build/obj/${file%.c}.o"
            ;;
        *)
            cp "$scratch/source/$file" "$tree/$file"
            ;;
        esac
    done
}

try_mutant() {
    name=$(basename "$1" .patch)
    bound=${SEEDS:-$(sed -n 's/^seeds: *//p' "$1")}
    bound=${bound:-5000}
    protocol=$(sed -n 's/^protocol: *//p' "$1")
    protocol=${protocol:-raft}
    if ! patch -s -d "$tree" -p1 <"$1" >"$build.log" 2>&1; then
        row "$name" - 'the patch does not apply'
        fail
    elif ! build; then
        row "$name" - 'does not build'
        cat "$build.log"
        fail
    else
        hunt "$bound"
        judge "$name" "$bound"
    fi
    restore "$1"
}

# Takes mutants that no other copy has taken, until none is left.
work() {
    tree=$scratch/tree$1
    build=$scratch/build$1
    original=$scratch/original$1
    shift
    cp -Rp "$scratch/source" "$tree"
    if ! build; then
        row '(the original)' - 'does not build'
        cat "$build.log"
        fail
        return
    fi
    cp "$build/sim" "$original"
    cp -Rp "$build/obj" "$build.objects"
    for mutant in "$@"; do
        if mkdir "$scratch/$(basename "$mutant").taken" 2>/dev/null; then
            try_mutant "$mutant"
        fi
    done
}

lines() {
    touch "$1"
    wc -l <"$1" | tr -d ' '
}

copy_sources
row mutant seeds 'found by'
if [ $# -eq 0 ]; then
    set -- "$here"/*.patch
fi
worker=1
while [ "$worker" -le "$jobs" ]; do
    work "$worker" "$@" &
    worker=$((worker + 1))
done
wait
passed=$(lines "$scratch/passed")
failed=$(lines "$scratch/failed")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -eq $# ]
