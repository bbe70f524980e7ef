#!/bin/sh
# Instructions instead of time: each configuration of `bench --count` runs twice under callgrind, at
# two lengths; the difference, divided by what was done more, is exact and the same every time.
# Prints one figure a line, as bench does. With PROFILE=NAME, prints where the instructions of that
# configuration go instead. Arguments: the configurations wanted; none: all.
set -u
BUILD=${BUILD:-build}
bench=$BUILD/bench
if ! command -v valgrind >/dev/null 2>&1; then
    echo "skip bench-instructions: no valgrind"
    exit 0
fi

# callgrind counts "rep movsb" as one instruction a byte: let memcpy use vectors at every size.
GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1073741824
export GLIBC_TUNABLES

work=$(mktemp -d "${TMPDIR:-/tmp}/keelson-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT INT TERM

# count NAME ROUNDS [OPTION..]: the instructions of the whole run
count() {
    name_=$1 rounds_=$2
    shift 2
    valgrind --tool=callgrind --callgrind-out-file="$work/out" "$@" \
        "$bench" --count "$name_" "$rounds_" \
        >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    sed -n 's/.*Collected : //p' "$work/log"
}

# Of batches only what happens in rounds, not what makes and removes the cluster.
if [ -n "${PROFILE:-}" ]; then
    case $PROFILE in
    *_batch*) count "$PROFILE" "${ROUNDS:-500}" --toggle-collect=run_rounds >/dev/null ;;
    *) count "$PROFILE" "${ROUNDS:-20000}" >/dev/null ;;
    esac
    callgrind_annotate --threshold=98 "$work/out" | sed 's/ \[.*//'
    exit 0
fi

# A round has per_round entries (or polls, ...): a few thousand of them, a few rounds at least.
"$bench" --list | while read -r name per_round unit; do
    case " $* " in
    "  " | *" $name "*) ;;
    *) continue ;;
    esac
    short=$((2048 / per_round))
    [ "$short" -lt 8 ] && short=8
    long=$((short * 3))
    few=$(count "$name" "$short")
    many=$(count "$name" "$long")
    awk -v name="$name" -v few="$few" -v many="$many" -v done="$(((long - short) * per_round))" \
        -v unit="$unit" \
        'BEGIN { printf "%s_instructions %.1f instructions/%s\n", name, (many - few) / done, unit }'
done
