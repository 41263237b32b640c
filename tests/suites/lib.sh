# What the suites share. Sourced, from the repository's root, by every file in this directory.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
name=$(basename "$0")
export CARGO_TERM_COLOR=never
: "${COFFERDAM_TEMP:=$(mktemp -d "${TMPDIR:-/tmp}/cofferdam-tests.XXXXXX")}"
: "${COFFERDAM_SKIPS:=/dev/null}"

# skip REASON: this suite cannot run here.
skip() {
  echo "$name: $1" >>"$COFFERDAM_SKIPS"
  echo "$name: SKIPPED: $1"
  exit 77
}

# skip_part PART REASON: a part of this suite cannot run here; the rest counts.
skip_part() {
  echo "$name, $1: $2" >>"$COFFERDAM_SKIPS"
  echo "SKIPPED $1: $2"
}

# need_packages PACKAGE...: installs missing Debian packages where that is allowed, else skips the suite.
need_packages() {
  local package missing=()
  command -v dpkg-query >/dev/null || skip "needs the Debian packages $*, and this is not Debian"
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ] || [ "${COFFERDAM_INSTALL:-yes}" = no ]; then
    skip "needs the Debian packages ${missing[*]}"
  fi
  echo "installing the Debian packages ${missing[*]}"
  apt-get -q update >/dev/null || skip "apt-get update failed, and ${missing[*]} are missing"
  DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}" >/dev/null ||
    skip "apt-get could not install ${missing[*]}"
}

# need_python WHEEL...: makes target/venv with these wheels; `$python` is its interpreter.
need_python() {
  command -v python3 >/dev/null || need_packages python3 python3-venv
  python=$root/target/venv/bin/python
  if ! "$python" -c pass 2>/dev/null; then
    rm -rf "$root/target/venv"
    python3 -m venv "$root/target/venv" || skip "python3 cannot make a venv (package python3-venv)"
  fi
  local wheel
  for wheel in "$@"; do
    "$python" -m pip -q --disable-pip-version-check show "${wheel%%[=<>]*}" >/dev/null 2>&1 && continue
    echo "installing the wheel $wheel into target/venv"
    "$python" -m pip -q --disable-pip-version-check install --only-binary :all: "$wheel" ||
      skip "pip could not install $wheel"
  done
}

# cargo_suite TARGET: runs one test target of cofferdam-tests, whose last line `NAME: ...` is this suite's.
cargo_suite() {
  [ -e "tests/tests/$1.rs" ] || { echo "tests/tests/$1.rs does not exist"; exit 1; }
  local out=$COFFERDAM_TEMP/$name.out code=0
  cargo test --release -q -p cofferdam-tests --test "$1" -- --nocapture 2>&1 | tee "$out" || code=$?
  # libtest prints its own result after ours, so the line is said again at the end.
  closing_line "$out" || { echo "no line began with '$name: '"; code=1; }
  exit "$code"
}

# closing_line FILE: prints the last line that begins with this suite's name.
closing_line() {
  local line
  line=$(grep "^$name: " "$1" | tail -1)
  [ -n "$line" ] && echo "$line"
}
