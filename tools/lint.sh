#!/bin/sh
# Static analysis of the files that are named, with what is installed.
set -u
failed=0
if command -v clang-tidy >/dev/null 2>&1; then
    # The analyzer's advice to use the _s functions of Annex K is not followed: libc has none.
    clang-tidy --quiet --warnings-as-errors='*' \
        --checks='-*,bugprone-*,clang-analyzer-*,performance-*,-bugprone-easily-swappable-parameters,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling' \
        "$@" -- -std=c11 -I. -Iexamples || failed=1
else
    echo 'skip clang-tidy: not installed'
fi
if command -v cppcheck >/dev/null 2>&1; then
    cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr \
        --error-exitcode=1 -I. -Iexamples "$@" || failed=1
else
    echo 'skip cppcheck: not installed'
fi
exit $failed
