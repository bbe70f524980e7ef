#!/bin/sh
# The documentation is true where a machine can tell: every C block compiles without a warning,
# every `make` target that is named exists, and so does every file that is linked to.
set -u
CC=${CC:-cc}
BUILD=${BUILD:-build}
work=$BUILD/docs
passed=0
failed=0
rm -rf "$work"
mkdir -p "$work"
pages=$(ls README.md ARCHITECTURE.md docs/*.md 2>/dev/null)

result() {
    if [ "$1" -eq 0 ]; then
        echo "ok $2"
        passed=$((passed + 1))
    else
        echo "FAIL $2: $3"
        failed=$((failed + 1))
    fi
}

for page in $pages; do
    name=$(basename "$page" .md)

    awk -v stem="$work/$name" '
        /^```c$/ { file = stem "_" ++count ".c"; print "#line " NR + 1 " \"" FILENAME "\"" >file; next }
        /^```/ { file = "" }
        file != "" { print >file }
    ' "$page"
    for block in "$work/$name"_*.c; do
        [ -e "$block" ] || continue
        "$CC" -std=c11 -pedantic -Wall -Wextra -Werror -I. -Iexamples -c -o "$work/block.o" "$block"
        result $? "$(basename "$block" .c)_compiles" "a C block of $page"
    done

    for target in $(grep -o '`make [a-z-]*' "$page" | sed 's/`make //' | sort -u) \
        $(sed -n 's/^ *make \([a-z-]*\).*/\1/p' "$page" | sort -u); do
        grep -q "^$target:" Makefile
        result $? "${name}_names_the_target_$target" "$page says \`make $target\`"
    done

    for link in $(grep -o '](\([^)#:]*\))' "$page" | sed 's/](\(.*\))/\1/' | sort -u); do
        [ -e "$(dirname "$page")/$link" ]
        result $? "${name}_links_to_$link" "$page links to $link, which is not there"
    done
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
