#!/bin/sh
# What `make install` puts somewhere is enough to build programs with, `make uninstall` takes all of
# it away again, the shared library exports what the header declares and nothing else, and the same
# sources make the same bytes.
set -u
BUILD=${BUILD:-build}
CC=${CC:-cc}
MAKE=${MAKE:-make}
flags="${CFLAGS:-} ${LDFLAGS:-}" # a library with sanitizers needs programs with them
# Where things go, and with how many jobs, is said here, not inherited from the make around us.
unset MAKEFLAGS MFLAGS DESTDIR PREFIX LIBDIR INCLUDEDIR PKGCONFIGDIR BUILD_SHARED BUILD_STATIC
unset prefix exec_prefix libdir includedir pkgconfigdir
mkdir -p "$BUILD/install"
work=$(cd "$BUILD/install" && pwd)
passed=0
failed=0

# check NAME COMMAND...: the command succeeds and warns of nothing.
check() {
    name=$1
    shift
    if "$@" >"$work/out" 2>&1 && ! grep -q -i 'warning' "$work/out"; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "FAIL $name: $*"
        head -n 20 "$work/out"
        failed=$((failed + 1))
    fi
}

has() {
    command -v "$1" >/dev/null 2>&1 || { echo "skip $1: not installed"; return 1; }
}

keelson() {
    "$MAKE" --no-print-directory BUILD="$BUILD" "$@"
}

rm -rf "$work"
mkdir -p "$work"
check the_libraries_are_built keelson lib shared
version=$(awk '/^.define RAFT_VERSION_(MAJOR|MINOR|PATCH) / { printf "%s%s", dot, $3; dot = "." }' \
    raft.h)
case $version in
    0.*) abi=${version%.*} ;;
    *) abi=${version%%.*} ;;
esac
case $(uname -s) in
    Darwin) file=libkeelson.$version.dylib soname=libkeelson.$abi.dylib link=libkeelson.dylib ;;
    *) file=libkeelson.so.$version soname=libkeelson.so.$abi link=libkeelson.so ;;
esac
shared=no
if grep -q yes "$BUILD/obj/shared/works"; then
    shared=yes
else
    echo "skip shared library: $CC makes none that hides its internals"
fi

# ---- Programs that start from an installation ----------------------------------------------------

cp examples/hello.c "$work/hello.c"
echo '#include <keelson/raft.h>
#include <keelson/raft.h>
int main(void) { return raft_version_number() == RAFT_VERSION_NUMBER ? 0 : 1; }' >"$work/include.c"
cp "$work/include.c" "$work/include.cc"

# What the compiler is told of an installation: by pkg-config where it is present, else by hand.
# Quoted for eval, since the path may have a space.
compile_flags() {
    if [ $pkg_config = yes ]; then
        pkg-config --cflags keelson
    else
        echo "-I'$root/include' -I'$root/include/keelson'"
    fi
}
link_flags() {
    if [ "$1" = static ]; then
        echo "'$root/$lib/libkeelson.a'"
    elif [ $pkg_config = yes ]; then
        pkg-config --libs keelson
    else
        echo "-L'$root/$lib' -lkeelson"
    fi
}

# builds KIND SOURCE COMPILER [FLAG...]: a program against the installation in $root.
builds() {
    kind=$1
    source=$2
    compiler=$3
    shift 3
    rm -f "$work/program"
    # CC may be two words ("gcc -m32"), and the flags are words of the shell.
    eval "$compiler $flags $* -Wall -Wextra $(compile_flags) -o '$work/program'" \
        "'$work/$source' $(link_flags "$kind")"
}
runs() {
    LD_LIBRARY_PATH=$root/$lib DYLD_LIBRARY_PATH=$root/$lib "$work/program"
}
runs_hello() {
    runs | grep 'server 3 holds "hello, world"'
}
needs_the_soname() {
    readelf -d "$work/program" | grep NEEDED | grep -F "[$soname]"
}

# C++ compilers that can take what CC makes: "gcc -m32" and tcc may make something else.
cxx_compilers=
echo 'int one(void); int one(void) { return 1; }' >"$work/one.c"
echo 'extern "C" int one(void); int main() { return one() - 1; }' >"$work/one.cc"
$CC $flags -c -o "$work/one.o" "$work/one.c"
for compiler in g++ clang++; do
    if has $compiler; then
        if [ -z "$($compiler $flags -o "$work/one" "$work/one.cc" "$work/one.o" 2>&1)" ]; then
            cxx_compilers="$cxx_compilers $compiler"
        else
            echo "skip $compiler: it does not link what $CC makes"
        fi
    fi
done

programs() {
    for kind in static $([ $shared = no ] || echo shared); do
        check "hello_is_built_$1_${kind}" builds $kind hello.c "$CC" -std=c11
        check "hello_runs_$1_${kind}" runs_hello
        if [ $kind = shared ] && command -v readelf >/dev/null 2>&1; then
            check "hello_is_bound_to_the_soname_$1" needs_the_soname
        fi
        check "c99_is_built_$1_${kind}" builds $kind include.c "$CC" -std=c99 -pedantic
        check "c99_runs_$1_${kind}" runs
    done
    for compiler in $cxx_compilers; do
        check "${compiler}_is_built_$1" builds static include.cc $compiler -std=c++98 \
            -Wno-long-long
        check "${compiler}_runs_$1" runs
    done
}

# ---- What is there -------------------------------------------------------------------------------

# holds DIRECTORY FILE...: these files and links, and no other.
holds() {
    directory=$1
    shift
    (cd "$directory" && find . ! -type d) | sed 's|^\./||' | LC_ALL=C sort >"$work/there"
    printf '%s\n' "$@" | LC_ALL=C sort >"$work/wanted"
    diff "$work/wanted" "$work/there"
}
nothing() {
    find "$1" -mindepth 1 | awk '{ print } END { exit NR > 0 }'
}
shared_files() {
    [ $shared = no ] || echo "$1/$file $1/$soname $1/$link"
}

# A staged installation, as packagers make it: it is told where it will be, not where it is.
pkg_config=no
if has pkg-config; then
    pkg_config=yes
fi
stage=$work/stage
root=$stage/usr
lib=lib/somewhere
PKG_CONFIG_SYSROOT_DIR=$stage
PKG_CONFIG_PATH=$root/$lib/pkgconfig
export PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH
staged() {
    keelson "$1" DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/$lib
}
says_nothing_of_the_stage() {
    ! grep -F "$stage" "$root/$lib/pkgconfig/keelson.pc"
}
check it_installs_into_a_stage staged install
# shellcheck disable=SC2046
check the_stage_has_what_belongs_there holds "$root" include/keelson/raft.h $lib/libkeelson.a \
    $lib/pkgconfig/keelson.pc $(shared_files $lib)
check nothing_names_the_stage says_nothing_of_the_stage
programs from_a_stage
mkdir -p "$root/include/neighbour" && : >"$root/include/neighbour/header.h"
check it_leaves_the_stage staged uninstall
check neighbours_stay holds "$root" include/neighbour/header.h
rm -r "$root/include"
check nothing_stays_in_the_stage nothing "$root/lib" # below which the library's directory was

# An installation of one's own, under a path with a space.
root="$work/with a space"
lib=lib
unset PKG_CONFIG_SYSROOT_DIR
PKG_CONFIG_PATH=$root/$lib/pkgconfig
own() {
    keelson "$1" prefix="$root"
}
same_header() {
    cmp raft.h "$root/include/keelson/raft.h"
}
knows_its_version() {
    [ "$(pkg-config --modversion keelson)" = "$version" ]
}
check it_installs_under_a_prefix own install
check it_installs_twice own install
# shellcheck disable=SC2046
check the_prefix_has_what_belongs_there holds "$root" include/keelson/raft.h lib/libkeelson.a \
    lib/pkgconfig/keelson.pc $(shared_files lib)
check the_header_is_ours same_header
if [ $pkg_config = yes ]; then
    check pkg_config_knows_the_version knows_its_version
fi
programs from_a_prefix
pkg_config=no
check hello_is_built_without_pkg_config builds static hello.c "$CC" -std=c11
check hello_runs_without_pkg_config runs_hello
check it_leaves_the_prefix own uninstall
check nothing_stays_below_the_prefix nothing "$root"

# One library of the two.
# shellcheck disable=SC2046
one_library() {
    keelson install PREFIX="$root" BUILD_SHARED=no &&
        holds "$root" include/keelson/raft.h lib/libkeelson.a lib/pkgconfig/keelson.pc &&
        keelson uninstall PREFIX="$root" && nothing "$root" &&
        keelson install PREFIX="$root" BUILD_STATIC=no &&
        holds "$root" include/keelson/raft.h lib/pkgconfig/keelson.pc $(shared_files lib) &&
        keelson uninstall PREFIX="$root" && nothing "$root"
}
refuses_a_relative_prefix() {
    ! keelson install PREFIX=build/relative && [ ! -e build/relative ]
}
check either_library_can_be_left_out one_library
check a_relative_prefix_is_refused refuses_a_relative_prefix

# ---- CMake ---------------------------------------------------------------------------------------

# A project that has the library inside itself, and one that finds it installed.
project() {
    mkdir -p "$work/$1"
    {
        echo 'cmake_minimum_required(VERSION 3.14)'
        echo 'project(program C)'
        echo "$2"
        echo 'add_executable(program ../hello.c)'
        echo 'add_executable(include ../include.c)'
        echo 'target_link_libraries(program keelson::keelson)'
        echo 'target_link_libraries(include keelson::keelson)'
    } >"$work/$1/CMakeLists.txt"
}
cmake_runs() {
    cmake -S "$work/$1" -B "$work/$1/build" -DCMAKE_PREFIX_PATH="$work/cmake" &&
        cmake --build "$work/$1/build" && "$work/$1/build/include" &&
        "$work/$1/build/program" | grep 'server 3 holds "hello, world"'
}
cmake_installs() {
    cmake -S . -B "$work/cmake-build" -DBUILD_SHARED_LIBS=ON \
        -DCMAKE_INSTALL_PREFIX="$work/cmake" -DCMAKE_INSTALL_LIBDIR=lib &&
        cmake --build "$work/cmake-build" && cmake --install "$work/cmake-build"
}
# CMake wants the name of one program; what two words or tcc would build is not its business.
if ! has cmake; then
    :
elif [ $shared = no ] || ! command -v "$CC" >/dev/null 2>&1; then
    echo "skip cmake: $CC is not for it"
else
    project inside "add_subdirectory(\"$PWD\" keelson)"
    project found "find_package(keelson ${version%.*} REQUIRED)"
    check cmake_builds_the_library_inside_a_project cmake_runs inside
    check cmake_installs_the_shared_library cmake_installs
    check cmake_gives_it_the_same_soname test -e "$work/cmake/lib/$soname"
    check cmake_finds_the_shared_library cmake_runs found
fi

# ---- Symbols -------------------------------------------------------------------------------------

# Names before the parenthesis of what is marked RAFT_API, over as many lines as it takes.
awk '/^RAFT_API / { text = "" ; open = 1 }
     open { text = text " " $0 }
     open && /;/ { open = 0; match(text, /raft_[a-z0-9_]+ *\(/)
                   name = substr(text, RSTART, RLENGTH - 1); sub(/ +$/, "", name); print name }' \
    raft.h | LC_ALL=C sort >"$work/declared"
exports_what_is_declared() {
    # Linkers add marks of their own.
    nm -D --defined-only "$BUILD/$file" | awk '{ print $NF }' |
        grep -v -x -E '_init|_fini|_edata|_end|_etext|__bss_start(__)?|_bss_end__|__end__' |
        LC_ALL=C sort >"$work/exported"
    grep -q -x raft_poll "$work/declared" && diff "$work/declared" "$work/exported"
}
if [ $shared = yes ] && [ "$(uname -s)" != Darwin ] && has nm; then
    check the_shared_library_exports_the_header_and_nothing_else exports_what_is_declared
fi

# ---- Reproducible --------------------------------------------------------------------------------

# Only the static library is compiled once more: that is what takes time here.
again() {
    "$MAKE" --no-print-directory -j2 BUILD="$work/again" lib &&
        cmp "$BUILD/libkeelson.a" "$work/again/libkeelson.a"
}
relinked() {
    cp "$BUILD/$file" "$work/first" && rm "$BUILD/$file" && keelson shared &&
        cmp "$work/first" "$BUILD/$file"
}
check a_second_build_makes_the_same_bytes again
if [ $shared = yes ]; then
    check a_second_link_makes_the_same_bytes relinked
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
