#!/bin/sh
# Static analysis of the files that are named, with what is installed.
set -u
failed=0
if command -v clang-tidy >/dev/null 2>&1; then
    # Not asked for: the _s functions of Annex K, which libc has not; names that differ more; feature
    # macros called reserved; the analyzer's mistake about va_list; and opinions of style.
    unasked=
    for check in clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling \
        clang-analyzer-valist.Uninitialized bugprone-reserved-identifier bugprone-branch-clone \
        bugprone-easily-swappable-parameters bugprone-sizeof-expression \
        bugprone-narrowing-conversions bugprone-suspicious-string-compare \
        bugprone-implicit-widening-of-multiplication-result performance-no-int-to-ptr; do
        unasked=$unasked,-$check
    done
    checks="-*,bugprone-*,clang-analyzer-*,performance-*$unasked"
    export checks
    # It takes seconds a file, so two at a time. What it counts but does not show is of no interest.
    # shellcheck disable=SC2016
    printf '%s\n' "$@" | xargs -n 4 -P 2 sh -c '
        said=$(clang-tidy --quiet --warnings-as-errors="*" --checks="$checks" "$@" \
            -- -std=c11 -I. -Iexamples 2>&1)
        status=$?
        printf "%s\n" "$said" | grep -v -e "warnings* generated\.$" -e "^$"
        exit $status' sh || failed=1
else
    echo 'skip clang-tidy: not installed'
fi
if command -v cppcheck >/dev/null 2>&1; then
    # It does not know __has_include, and need not look at what is seen where that is missing.
    cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
        -U__has_include --error-exitcode=1 -I. -Iexamples "$@" || failed=1
else
    echo 'skip cppcheck: not installed'
fi
exit $failed
