#!/usr/bin/env bash
# Fetches Debian's source of SQLite, with Debian's patches, and builds SQLite's test program around our glue.
# Usage: prepare.sh DIRECTORY. Leaves DIRECTORY/source and DIRECTORY/build/testfixture; does nothing when both
# are up to date. Reads the machine's own package sources; writes none of the system's files.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
wanted_version=3.40.1
directory=$1
mkdir -p "$directory"
cd "$directory"

# Turns the configured Debian sources into sources of source packages, in a directory of our own.
write_sources() {
  mkdir -p apt/parts apt/lists/partial apt/cache/archives/partial
  rm -f apt/parts/*
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    awk -v RS= -v ORS='\n\n' '/(^|\n)Types:[^\n]*deb/' "$file" |
      sed 's/^Types:.*/Types: deb-src/' >"apt/parts/$(basename "$file")"
  done
  if [ -s /etc/apt/sources.list ]; then
    sed -n 's/^deb \(.*\)/deb-src \1/p' /etc/apt/sources.list >apt/parts/one-line.list
  fi
}

# apt-get with lists and sources of our own.
private_apt_get() {
  apt-get -q -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$PWD/apt/parts" \
    -o Dir::State::lists="$PWD/apt/lists" -o Dir::Cache="$PWD/apt/cache" -o APT::Sandbox::User=root "$@"
}

fetch_source() {
  echo "fetching Debian's source package sqlite3 ($wanted_version) into $PWD"
  write_sources
  private_apt_get update
  local version
  version=$(private_apt_get source --print-uris --only-source sqlite3 2>/dev/null | grep -c "sqlite3_$wanted_version" || true)
  if [ "$version" = 0 ]; then
    echo "SKIP: this system's source package of SQLite is not $wanted_version, which the list of exclusions is written for"
    exit 0
  fi
  rm -rf source sqlite3-*
  private_apt_get source --only-source sqlite3
  mv sqlite3-*/ source
  rm -rf apt
}

build() {
  echo "building SQLite's test program"
  cc -fsyntax-only -Ibuild "$here/api_index.c"
  (
    cd build
    # Our VFS maps no memory, and Debian's larger SQLITE_MAX_DEFAULT_PAGE_SIZE fails a test of SQLite's.
    # TLIBS comes last on the command line, where a definition wins over the Makefile's.
    make testfixture TESTFIXTURE_SRC1="sqlite3.c $here/extra_init.c" \
      TLIBS="-lm -lz -UTCLSH_INIT_PROC -DTCLSH_INIT_PROC=cofferdam_test_init" \
      OPTS="-w -DSQLITE_EXTRA_INIT=cofferdam_extra_init -DSQLITE_MAX_MMAP_SIZE=0 -DSQLITE_MAX_DEFAULT_PAGE_SIZE=8192" \
      >make.log 2>&1 || { tail -30 make.log; exit 1; }
  )
}

configure() {
  mkdir -p build
  (
    cd build
    ../source/configure --with-tcl="$(dirname "$(find /usr/lib -name tclConfig.sh | sort | head -1)")" \
      --enable-all CFLAGS="-O2 -g0" >configure.log 2>&1 || { tail -30 configure.log; exit 1; }
    make sqlite3.c sqlite3ext.h >generate.log 2>&1 || { tail -30 generate.log; exit 1; }
  )
}

[ -d source/test ] || fetch_source
if [ ! -x build/testfixture ] || [ "$here/extra_init.c" -nt build/testfixture ] ||
  [ "$here/prepare.sh" -nt build/testfixture ]; then
  rm -rf build
  configure
  build
fi
