#!/bin/sh
# Says "yes" if the compiler makes a shared library that hides what is marked so, "no" otherwise.
#
#     CC='cc FLAG...' sh tools/probe_shared.sh DIRECTORY FLAG...
#
# DIRECTORY is for scratch files; the flags after it are those for shared libraries.
set -eu
work=${1:?usage: probe_shared.sh DIRECTORY FLAG...}
shift
rm -rf "$work"
mkdir -p "$work"

echo '__attribute__((visibility("default"))) int shown(void);
__attribute__((visibility("hidden"))) int hidden(void);
int shown(void) { return 0; }
int hidden(void) { return 0; }' >"$work/library.c"
echo 'int shown(void); int main(void) { return shown(); }' >"$work/shown.c"
echo 'int hidden(void); int main(void) { return hidden(); }' >"$work/hidden.c"

# CC is split where it has flags.
# shellcheck disable=SC2086
if $CC "$@" -o "$work/library.so" "$work/library.c" &&
    $CC -o "$work/shown" "$work/shown.c" "$work/library.so" &&
    ! $CC -o "$work/hidden" "$work/hidden.c" "$work/library.so"; then
    echo yes
else
    echo no
fi 2>/dev/null
