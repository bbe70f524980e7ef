#!/bin/sh
# Runs test commands, two at a time, and sums their results.
#
#     BUILD=build sh tests/run.sh 'build/test_log' 'sh tests/check_docs.sh' ...
#
# A command says `N passed, N failed` in its last line; one that says nothing counts as one test by
# its exit status. A crash, a failure status without a failed test, and a program that tested
# nothing count as a failure, unless `skip NAME: why` says that it needs a tool that is not here.
# The whole output goes to $BUILD/log/; lines of failed and skipped tests are shown. The last line is
# the sum. RUN_UNDER is put before each command (valgrind); TEST_SECONDS bounds each; TEST_JOBS says
# how many run at a time.
set -u
logs=$BUILD/log
limit=
command -v timeout >/dev/null 2>&1 && limit="timeout -k 5 ${TEST_SECONDS:-300}"
mkdir -p "$logs"
claims=$logs/claims.$$
mkdir "$claims"
trap 'rm -rf "$claims"' EXIT
trap 'rm -rf "$claims"; trap - INT TERM HUP; kill 0' INT TERM HUP # the workers, and what they run

# Runs one command; writes what is to be shown, and its sums to the file $2.
run() {
    command=$1
    # The name of `sh tests/check_docs.sh` is check_docs, that of `build/sim --seed 1` is sim.
    name=${command#sh }
    name=$(basename "${name%% *}" .sh)
    log=$logs/$name.log
    under=${RUN_UNDER:-}
    started=$(date +%s)
    # Words are meant to be split here: commands are plain words.
    # shellcheck disable=SC2086
    $limit $under $command >"$log" 2>&1
    status=$?
    seconds=$(($(date +%s) - started))

    sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    if [ -n "$sum" ]; then
        good=${sum%% passed*}
        bad=${sum#*, }
        bad=${bad%% failed}
    elif [ "$status" -eq 0 ]; then
        good=1
        bad=0
    else
        good=0
        bad=0
    fi
    if [ "$status" -eq 0 ] && [ "$good" -eq 0 ] && [ "$bad" -eq 0 ] &&
        ! grep -q -E '^skip [^ ]+: ' "$log"; then
        bad=1
        echo "FAIL $name: it tested nothing"
    fi
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
        [ "$status" -eq 124 ] && echo "FAIL $name: it did not end within its time"
        [ "$status" -ne 124 ] && echo "FAIL $name: it ended with status $status"
    fi
    printf '%-26s %4d passed, %d failed, %d s\n' "$name" "$good" "$bad" "$seconds"
    grep -E '^skip[ :]' "$log" | sed 's/^/    /'
    if [ "$bad" -ne 0 ] && ! grep -E '^FAIL ' "$log" | sed 's/^/    /' | grep .; then
        tail -n 25 "$log" | sed 's/^/    | /'
    fi
    [ "$bad" -eq 0 ] || echo "    all it said: $log"
    echo "$good $bad" >"$2"
}

# Goes through all commands and runs those that no other worker has claimed.
work() {
    number=0
    for command in "$@"; do
        number=$((number + 1))
        mkdir "$claims/$number" 2>/dev/null || continue
        said=$(run "$command" "$claims/$number/sum")
        printf '%s\n' "$said"
    done
}

worker=0
while [ "$worker" -lt "${TEST_JOBS:-2}" ]; do
    work "$@" &
    worker=$((worker + 1))
done
wait

passed=0
failed=0
number=0
for command in "$@"; do
    number=$((number + 1))
    if read -r good bad <"$claims/$number/sum"; then
        passed=$((passed + good))
        failed=$((failed + bad))
    else
        echo "FAIL $command: it was not run"
        failed=$((failed + 1))
    fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
