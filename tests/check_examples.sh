#!/bin/sh
# The examples do what they promise: hello agrees, a register is written once, counter counts across
# restarts and kills.
set -u
BUILD=${BUILD:-build}
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/keelson-examples.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT

# expect NAME EXPECTED ACTUAL
expect() {
    if [ "$2" = "$3" ]; then
        echo "ok $1"
        passed=$((passed + 1))
    else
        echo "FAIL $1: expected '$2', not '$3'"
        failed=$((failed + 1))
    fi
}

"$BUILD/hello" >"$work/hello"
expect hello_succeeds 0 $?
expect hello_ends_with_the_same_text_on_all_three 3 \
    "$(grep -c 'server [123] holds "hello, world"' "$work/hello")"

"$BUILD/hello" multipaxos >"$work/hello"
expect hello_ends_with_the_same_text_by_multipaxos 3 \
    "$(grep -c 'server [123] holds "hello, world"' "$work/hello")"
# No entry but the one that was asked for.
expect hello_by_multipaxos_needs_one_entry 0 "$(grep -c 'applies entry [^1]' "$work/hello")"

# Whatever is lost and whoever is cut off. What each server has learnt, and how many wrote a value.
chosen=0
contested=0
seed=1
while [ $seed -le 60 ]; do
    if "$BUILD/register" $seed >"$work/register"; then
        learnt=$(sed -n 's/^server [123] learns //p' "$work/register")
        written=$(sed -n 's/^server [123] writes //p' "$work/register")
        [ "$(echo "$learnt" | wc -l)" -eq 3 ] && [ "$(echo "$learnt" | sort -u | wc -l)" -eq 1 ] &&
            echo "$written" | grep -Fqx "$(echo "$learnt" | head -1)" && chosen=$((chosen + 1))
        [ "$(echo "$written" | wc -l)" -gt 1 ] && contested=$((contested + 1))
    fi
    seed=$((seed + 1))
done
expect register_has_one_value_and_all_learn_it 60 $chosen
[ $contested -gt 0 ]
expect register_was_fought_for 0 $?

if [ -x "$BUILD/counter" ]; then
    expect counter_begins_at_nothing '0 + 1 = 1' "$("$BUILD/counter" "$work/counter" 2>&1)"
    expect counter_survives_a_restart '1 + 41 = 42' "$("$BUILD/counter" "$work/counter" 41 2>&1)"
    expect counter_subtracts '42 + -2 = 40' "$("$BUILD/counter" "$work/counter" -2 2>&1)"

    # Killed at whatever moment: what was reported is kept.
    reported=40
    : >"$work/out"
    for try in 1 2 3 4 5 6 7 8; do
        "$BUILD/counter" "$work/counter" >"$work/out" 2>&1 &
        child=$!
        [ $((try % 2)) -eq 0 ] && sleep 0.0$try
        kill -9 $child 2>/dev/null
        wait $child 2>/dev/null
        line=$(cat "$work/out")
        [ -n "$line" ] && reported=${line##* = }
    done
    line=$("$BUILD/counter" "$work/counter" 0 2>&1)
    value=${line##* = }
    [ "$value" -ge "$reported" ] 2>/dev/null && [ "$value" -le 48 ]
    expect counter_keeps_what_it_reported_when_killed 0 $?

    "$BUILD/counter" >/dev/null 2>&1
    expect counter_refuses_a_missing_directory_argument 2 $?
    for amount in '' x 1x 1.5 ' ' 0x10 -- 9223372036854775808; do
        said=$("$BUILD/counter" "$work/refused" "$amount" 2>&1)
        status=$?
        case $said in usage*) ;; *) status="$status: $said" ;; esac
        expect "counter_refuses_'$amount'_as_an_amount" 2 "$status"
    done
    [ ! -e "$work/refused" ]
    expect counter_that_refused_has_written_nothing 0 $?
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
